"""Guided upsampling: masks take the edges of the picture (guided filter, He et al. 2013; its fast form, He and Sun
2015).

Around every pixel a mask is taken for a linear function of the picture's colours, which is found where the mask is
small and holds at the picture's full size: the network's masks have half its resolution, and less of the video's."""

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 3
"""Of the neighbourhood, in pixels of the small mask; ``_mean`` is written for it."""
SMOOTH = 1e-4
"""Variance of a colour, in [0, 1], below which the picture has no edge."""


def guided_upsampling(masks: Tensor, image: Tensor) -> Tensor:
    """Masks (O, h, w) float32 in [0, 1] of an image (3, H, W) float32 RGB in [0, 1] -> (O, H, W) in [0, 1]."""
    if not len(masks):
        return image.new_zeros(0, *image.shape[1:])
    small = _reduced(image, masks.shape[1:])
    pairs = small[:, None] * small[None]
    mean, squares, levels, products = _mean(small, pairs, masks, masks[:, None] * small)
    covariance = squares - mean[:, None] * mean[None] + SMOOTH * torch.eye(3, device=image.device)[..., None, None]
    inverse = torch.stack([torch.linalg.cross(covariance[i - 2], covariance[i - 1], dim=0) for i in range(3)])
    inverse = inverse / (covariance[0] * inverse[0]).sum(0)
    slopes = ((products - levels[:, None] * mean)[:, :, None] * inverse).sum(1)
    offsets = levels - (slopes * mean).sum(1)
    (line,) = _mean(torch.cat([slopes, offsets[:, None]], 1))
    line = F.interpolate(line, size=image.shape[1:], mode="bilinear", align_corners=False)
    result = line[:, 3]
    for c, colour in enumerate(image):
        result = torch.addcmul(result, line[:, c], colour)
    return result.clamp_(0, 1)


def _reduced(image: Tensor, size: torch.Size) -> Tensor:
    """An image (C, H, W) as the means over the areas of the pixels of ``size`` (h, w)."""
    down, across = (_areas(*sides, image) for sides in zip(image.shape[1:], size, strict=True))
    return down @ image @ across.T


def _areas(old: int, new: int, like: Tensor) -> Tensor:
    """What share each of ``old`` pixels has in each of ``new`` ones, (new, old); as bilinear where these are more."""
    if new > old:
        unit = torch.eye(old, device=like.device)[None]
        return F.interpolate(unit, size=new, mode="linear", align_corners=False)[0].T
    edges = torch.arange(new + 1, device=like.device, dtype=like.dtype) * (old / new)
    pixels = torch.arange(old, device=like.device, dtype=like.dtype)
    over = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return over.clamp(min=0) * (new / old)


def _mean(*maps: Tensor) -> list[Tensor]:
    """Of each pixel's neighbourhood, maps (…, h, w)."""
    height, width = maps[0].shape[-2:]
    sums = torch.cat([each.reshape(-1, height, width) for each in maps])
    sums = F.pad(sums, [RADIUS] * 4, mode="replicate")
    for side, length in ((1, height), (2, width)):
        # a sum of seven in four additions: faster than pooling on a CPU, and fp32 on every device
        two = sums.narrow(side, 0, length + 5) + sums.narrow(side, 1, length + 5)
        four = two.narrow(side, 0, length) + two.narrow(side, 2, length)
        sums = four.add_(two.narrow(side, 4, length)).add_(sums.narrow(side, 6, length))
    parts = sums.div_((2 * RADIUS + 1) ** 2).split([each[..., 0, 0].numel() for each in maps])
    return [part.view_as(each) for part, each in zip(parts, maps, strict=True)]

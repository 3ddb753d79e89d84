"""Guided upsampling: masks take the edges of the picture (guided filter, He et al. 2013; its fast form, He and Sun
2015).

Around every pixel a mask is taken for a linear function of the picture's colours, which is found where the mask is
small and holds at the picture's full size: the network's masks have half its resolution, and less of the video's."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 3
"""Of the neighbourhood, in pixels of the small mask; ``_mean`` is written for it."""
SMOOTH = 1e-4
"""Variance of a colour, in [0, 1], below which the picture has no edge."""
FAINT = 1 / 64
"""On a CPU a mask is refined only where there is more of it than this, and near there."""


@dataclass(frozen=True, eq=False)
class Part:
    """The masks (N, h, w) of objects, from ``first`` on, in some rows and columns of a picture. Beside these there is
    nothing of them."""

    first: int
    rows: slice
    columns: slice
    masks: Tensor


def assembled(parts: Sequence[Part], masks: Tensor) -> Tensor:
    """The masks of all ``parts`` written into ``masks`` (O, H, W)."""
    for part in parts:
        masks[part.first : part.first + len(part.masks), part.rows, part.columns] = part.masks
    return masks


def guided_upsampling(masks: Tensor, image: Tensor) -> list[Part]:
    """Masks (O, h, w) float32 in [0, 1] of an image (H, W, 3) uint8 RGB -> those of its size, in [0, 1]."""
    small, large = masks.shape[1:], image.shape[:2]
    parts = []
    for first, last, *part in _regions(masks):
        rows, columns = (_enlarged(*each) for each in zip(part, small, large, strict=True))
        shown = image[rows, columns].permute(2, 0, 1).float().div_(255)
        refined = _guided(masks[(slice(first, last), *part)], shown, part, small, large)
        parts.append(Part(first, rows, columns, refined))
    return parts


def _regions(masks: Tensor) -> Iterator[tuple[int, int, slice, slice]]:
    """Objects from one number to another, and the rows and columns of the masks (O, h, w) in which there is anything of
    them, with what is near. To know this of each object pays on a CPU."""
    height, width = masks.shape[1:]
    if masks.device.type != "cpu":
        if len(masks):
            yield 0, len(masks), slice(0, height), slice(0, width)
        return
    near = 2 * RADIUS + 1
    for i, seen in enumerate((masks > FAINT).byte().numpy()):
        x, y, wide, tall = cv2.boundingRect(seen)
        if wide:
            rows = slice(max(y - near, 0), min(y + tall + near, height))
            yield i, i + 1, rows, slice(max(x - near, 0), min(x + wide + near, width))


def _enlarged(part: slice, small: int, large: int) -> slice:
    """Where a part of ``small`` pixels is among ``large`` ones."""
    return slice(math.floor(part.start * large / small), math.ceil(part.stop * large / small))


def _guided(masks: Tensor, image: Tensor, part: Sequence[slice], small: Sequence[int], large: Sequence[int]) -> Tensor:
    """``guided_upsampling`` in a ``part``, rows and columns, of masks of a ``small`` height and width, with the image
    (3, h, w) in [0, 1] there, whose whole height and width are ``large``."""
    there = [_enlarged(*each) for each in zip(part, small, large, strict=True)]
    areas = (_areas(*each, image.device) for each in zip(small, large, strict=True))
    down, across = (every[each] for every, each in zip(areas, zip(part, there, strict=True), strict=True))
    colours = down @ image @ across.T
    pairs = colours[:, None] * colours[None]
    mean, squares, levels, products = _mean(colours, pairs, masks, masks[:, None] * colours)
    covariance = squares - mean[:, None] * mean[None] + SMOOTH * torch.eye(3, device=image.device)[..., None, None]
    inverse = torch.stack([torch.linalg.cross(covariance[i - 2], covariance[i - 1], dim=0) for i in range(3)])
    inverse = inverse / (covariance[0] * inverse[0]).sum(0)
    slopes = ((products - levels[:, None] * mean)[:, :, None] * inverse).sum(1)
    offsets = levels - (slopes * mean).sum(1)
    (line,) = _mean(torch.cat([slopes, offsets[:, None]], 1))
    for side in (1, 0):  # across first, while there are few rows
        place, share = (each[there[side]] for each in _between(small[side], large[side], image.device))
        ends = (place + i - part[side].start for i in (0, 1))
        one, other = (line.index_select(2 + side, end.clamp(0, line.shape[2 + side] - 1)) for end in ends)
        line = torch.addcmul(one, other - one, share if side else share[:, None])  # lerp broadcasts slowly
    result = line[:, 3]
    for c, colour in enumerate(image):
        result = torch.addcmul(result, line[:, c], colour)
    return result.clamp_(0, 1)


@lru_cache(32)
def _areas(small: int, large: int, device: torch.device) -> Tensor:
    """What share each of ``large`` pixels has in each of ``small`` ones, (small, large); as bilinear where these are
    more."""
    if small > large:
        unit = torch.eye(large, device=device)[None]
        return F.interpolate(unit, size=small, mode="linear", align_corners=False)[0].T
    edges = torch.arange(small + 1, device=device) * (large / small)
    pixels = torch.arange(large, device=device)
    over = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return over.clamp(min=0) * (small / large)


@lru_cache(32)
def _between(small: int, large: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """After which of ``small`` pixels each of ``large`` ones lies, and how near to the next one, (large,)."""
    place = ((torch.arange(large, device=device) + 0.5) * (small / large) - 0.5).clamp(0, small - 1)
    return place.floor().long(), place.frac()


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

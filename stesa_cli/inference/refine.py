"""Guided upsampling: masks take the edges of the picture (guided filter, He et al. 2013; its fast form, He and Sun
2015).

Around every pixel a mask is taken for a linear function of the picture's colours, which is found where the mask is
small and holds at the picture's full size: the network's masks have half its resolution, and less of the video's."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 3
"""Of the neighbourhood, in pixels of the small mask."""
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


def guided_upsampling(masks: Tensor, colours: Tensor, image: Tensor) -> list[Part]:
    """Masks (O, h, w) float32 in [0, 1] of an image (H, W, 3) uint8 RGB -> those of its size, in [0, 1]. ``colours``
    (3, h, w) float32 in [0, 1] are the image at the masks' size."""
    small, large = masks.shape[1:], image.shape[:2]
    parts: list[Part] = []
    mean, diagonal, beside = _colours(colours)
    for first, last, *part in _regions(masks):
        within = (slice(None), *part)
        masked = masks[(slice(first, last), *part)][:, None]
        level, products = _mean(masked, masked * colours[within])
        slopes = _times(diagonal[within], beside[within], products - level * mean[within])
        (line,) = _mean(torch.cat([slopes, level - (slopes * mean[within]).sum(1, keepdim=True)], 1))
        rows, columns = (_enlarged(*each) for each in zip(part, small, large, strict=True))
        line = _upsampled(line, part, (rows, columns), small, large)
        shown, refined = image[rows, columns].permute(2, 0, 1).float().div_(255), line[:, 3]
        for c, colour in enumerate(shown):
            refined = torch.addcmul(refined, line[:, c], colour)
        parts.append(Part(first, rows, columns, refined.clamp_(0, 1)))
    return parts


def _colours(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pixel's neighbourhood in an image (3, h, w), the mean colour, and the inverse of the covariance of
    colours, which is symmetric: its diagonal, and to each colour what the two others have in common, (3, h, w) each."""
    mean, squares, products = _mean(image, image * image, _others(image))
    own, common = squares - mean * mean + SMOOTH, products - _others(mean)
    diagonal, beside = _others(own) - common * common, _others(common) - own * common
    scale = 1 / (own[0] * diagonal[0] + common[1] * beside[1] + common[2] * beside[2])
    return mean, diagonal * scale, beside * scale


def _times(diagonal: Tensor, beside: Tensor, vectors: Tensor) -> Tensor:
    """A symmetric matrix, as ``_colours`` has it, times ``vectors`` (N, 3, h, w)."""
    return diagonal * vectors + sum(beside.roll(-2 // i, -3) * vectors.roll(-i, -3) for i in (1, 2))


def _others(colours: Tensor) -> Tensor:
    """To each of three colours the product of the two others, (3, h, w)."""
    return colours.roll(-1, 0) * colours.roll(-2, 0)


def _regions(masks: Tensor) -> Iterator[tuple[int, int, slice, slice]]:
    """Objects from one number to another, and the rows and columns of the masks (O, h, w) in which there is anything of
    them, with what is near. To know this of each object pays on a CPU."""
    height, width = masks.shape[1:]
    if not _on_host(masks):
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


def _upsampled(
    maps: Tensor, part: Sequence[slice], there: Sequence[slice], small: Sequence[int], large: Sequence[int]
) -> Tensor:
    """Maps (N, C, h, w) of a ``part``, rows and columns, of ``small`` ones (height, width) -> as they are ``there``
    among ``large`` ones."""
    size = tuple(side.stop - side.start for side in there)
    if not _on_host(maps):
        return F.interpolate(maps, size=size, mode="bilinear")
    down, across = (few / many for few, many in zip(small, large, strict=True))
    y, x = ((e.start + 0.5) * step - 0.5 - p.start for e, p, step in zip(there, part, (down, across), strict=True))
    way = np.array([[across, 0, x], [0, down, y]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    result = maps.new_empty(*maps.shape[:2], *size)
    for one, large_one in zip(maps.flatten(0, 1).numpy(), result.flatten(0, 1).numpy(), strict=True):
        cv2.warpAffine(one, way, size[::-1], large_one, flags, cv2.BORDER_REPLICATE)
    return result


def _on_host(tensor: Tensor) -> bool:
    """There OpenCV is many times as fast as PyTorch."""
    return tensor.device.type == "cpu"


def _mean(*maps: Tensor) -> list[Tensor]:
    """Of each pixel's neighbourhood, maps (…, h, w)."""
    side = 2 * RADIUS + 1
    every = torch.cat([each.flatten(0, -3) for each in maps])
    if _on_host(every):
        size, border = (side, side), cv2.BORDER_REPLICATE
        means = torch.from_numpy(np.stack([cv2.blur(each, size, borderType=border) for each in every.numpy()]))
    else:
        means = F.avg_pool2d(F.pad(every, [RADIUS] * 4, mode="replicate"), side, 1)
    parts = means.split([each[..., 0, 0].numel() for each in maps])
    return [part.view_as(each) for part, each in zip(parts, maps, strict=True)]

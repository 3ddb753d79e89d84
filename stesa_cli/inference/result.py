"""What comes out of a frame: its masks at full size, shown in the third stage of its way."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.crop import Crop
from stesa_cli.inference.frame import Tracked, overruled, resized
from stesa_cli.inference.refine import Part, assembled, guided_upsampling
from stesa_cli.runtime import download


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The masks of one frame."""

    index: int  # of the frame
    time: float  # of the frame, in seconds
    image: np.ndarray  # (H, W, 3) uint8 RGB: the frame
    ids: tuple[int, ...]  # of the objects that have been prompted so far
    labels: np.ndarray  # (H, W) uint8: the id of the most probable object, 0 for the background
    confidence: np.ndarray  # (H, W) uint8: how probable that is, 0 to 255
    crop: Crop
    parts: tuple[Part, ...]  # masks of the objects in the crop

    @cached_property
    def probabilities(self) -> Tensor:
        """(O + 1, H, W) float32 on the device, background first, then in the order of ids."""
        device = self.parts[0].masks.device if self.parts else None
        full = torch.zeros(len(self.ids) + 1, *self.image.shape[:2], device=device)
        top, left, height, width = astuple(self.crop)
        assembled(self.parts, full[1:, top : top + height, left : left + width])
        full[0] = (1 - full.sum(0)).clamp(min=0)
        return full / full.sum(0)


@torch.inference_mode()
def show(config: InferenceConfig, tracked: Tracked) -> FrameResult:
    """Third: the masks of a frame at its full size. From the device come label map and confidence in one piece."""
    seen, ids, small = tracked.seen, tracked.ids, tracked.masks
    shown = seen.given.frame
    frame, size = shown.image.shape[:2], seen.pixels.shape[:2]
    every = slice(0, size[0]), slice(0, size[1])
    if config.refine:
        parts = guided_upsampling(small[0], seen.colours, seen.pixels)
    else:
        parts = [Part(0, *every, resized(small, size)[0])] if small.shape[1] else []
    if seen.given.labels is not None:
        full = assembled(parts, small.new_zeros(1, len(ids), *size)[0])
        parts = [Part(0, *every, overruled(full[None], seen.crop.of(seen.given.labels), ids, seen.given.prompted)[0])]
    labels, confidence = np.zeros(frame, np.uint8), np.full(frame, 255, np.uint8)
    if parts:
        rows, columns = (_hull([getattr(part, side) for part in parts]) for side in ("rows", "columns"))
        found = download(_best(parts, ids, rows, columns))
        seen.crop.of(labels)[rows, columns], seen.crop.of(confidence)[rows, columns] = found
    return FrameResult(shown.index, shown.time, shown.image, ids, labels, confidence, seen.crop, tuple(parts))


def _hull(parts: list[slice]) -> slice:
    return slice(min(part.start for part in parts), max(part.stop for part in parts))


def _best(parts: Sequence[Part], ids: Sequence[int], rows: slice, columns: slice) -> Tensor:
    """In some rows and columns, the id of the most probable object, 0 for the background, and how probable that is, 0
    to 255: (2, h, w) uint8."""
    first = parts[0].masks
    total, best = first.new_zeros(2, rows.stop - rows.start, columns.stop - columns.start)
    index = torch.zeros_like(best, dtype=torch.uint8)
    for part in parts:
        sides = (part.rows, rows), (part.columns, columns)
        there = tuple(slice(inner.start - outer.start, inner.stop - outer.start) for inner, outer in sides)
        for i, mask in zip(ids[part.first :], part.masks, strict=False):
            total[there] += mask
            index[there].masked_fill_(mask > best[there], i)
            torch.maximum(best[there], mask, out=best[there])
    background = (1 - total).clamp_(min=0)
    index *= best > background
    return torch.stack([index, (torch.maximum(best, background) / total.clamp(min=1) * 255).round_().byte()])

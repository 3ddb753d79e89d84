"""Distractor suppression. Objects do not come from nowhere, and move as a whole: while all of an object is there, what
is predicted of it apart from where it was is something that looks like it, and so is what stays behind as it moves
on."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from stesa_cli.model.decoder import reduce
from stesa_cli.model.motion import from_background
from stesa_cli.model.state import OFF
from stesa_cli.runtime import download, upload

REACH = 0.05
"""How far beside its last mask, warped along the flow, a part of an object may appear, in heights of the frame."""
MOVING, BEHIND = 1.5, 0.25
"""How far its largest part has moved against the background, in pixels at 480 lines, and what share of this another
part has, at most, that has been left behind."""
STAYED = 0.8
"""What share of its usual area an object must have: else some of it was hidden, and may come into view elsewhere."""
FADING = 0.97
"""What share of its usual area is left of it a frame later, where the object has become smaller."""
CRUMB = 0.02
"""What share of a prompted mask a part has, at most, that does not count as one."""
EDGE = 2
"""How far the soft edge of a mask reaches, in pixels."""


@dataclass
class FilterContext:
    """What a mask filter knows beside the logits of a frame: the objects' ``ids``, their ``last`` masks (1, O, h, w) in
    [0, 1], warped to the frame, the ``flow`` (1, 3, h, w), None for a network without it, and the ``usual`` area of
    each object in pixels of the masks, which ``suppress_distractors`` keeps up to date."""

    ids: Sequence[int]
    last: Tensor
    flow: Tensor | None
    usual: dict[int, float]


def suppress_distractors(logits: Tensor, context: FilterContext) -> Tensor:
    """A mask filter: logits (1, O, h, w) of the objects, switched off where a part of an object's mask is none of it.

    Connected components are sought on the host: on a GPU this costs a way there and back at the size of the masks."""
    moved = np.zeros((1, 1), np.float32)
    if context.flow is not None:
        present = reduce(context.last, 4, "area").sum(1, keepdim=True)
        moved = download(from_background(context.flow, present).norm(dim=1)[0])
    masks, last = download((logits > 0)[0]), download((context.last > 0.5)[0])
    off = np.zeros(masks.shape, bool)
    for i, mask, before, stray in zip(context.ids, masks, last, off, strict=True):
        stray[:] = strays(mask, before, context.usual[i], moved)
        context.usual[i] = max(float((mask & ~stray).sum()), FADING * context.usual[i])
    return logits.masked_fill(upload(off, logits.device), OFF) if off.any() else logits


def usual_area(prompt: np.ndarray) -> float:
    """Of an object's prompted mask (H, W) bool, in pixels; infinite, so that nothing of it is ever a stray, where it
    has several parts."""
    areas = np.sort(cv2.connectedComponentsWithStats(prompt.view(np.uint8))[2][1:, cv2.CC_STAT_AREA])[::-1]
    return float("inf") if areas[1:2].sum() > CRUMB * areas.sum() else float(areas.sum())


def strays(mask: np.ndarray, last: np.ndarray, usual: float, moved: np.ndarray) -> np.ndarray:
    """The pixels (H, W) bool of the parts of an object's ``mask`` (H, W) bool that are not of it: those apart from its
    ``last`` mask, warped to the frame, and those left behind, as ``moved`` (h, w), how far each pixel has moved
    against the background in pixels at 480 lines, has it. None where what there is has not the ``usual`` area in
    pixels, in which what is left behind may be counted."""
    found = mask.view(np.uint8)
    near = _dilated(last.view(np.uint8), round(REACH * len(mask)))
    count, parts = cv2.connectedComponents(found)
    areas = np.bincount(parts.ravel(), found.ravel())
    speeds = np.bincount(parts.ravel(), cv2.resize(moved, mask.shape[::-1]).ravel()) / np.maximum(areas, 1)
    kept = np.bincount(parts[near > 0], minlength=count) > 0
    speed = speeds[np.argmax(areas * kept)]
    if speed > MOVING and areas.sum() >= STAYED * usual:
        behind = speeds <= BEHIND * speed
        usual -= areas[behind & kept].sum()
        kept &= ~behind
    if areas[kept].sum() < max(1, STAYED * usual):
        return np.zeros(mask.shape, bool)
    rest = found * kept[parts]
    return (_dilated(found - rest, EDGE) > 0) & (rest == 0)


def _dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    return cv2.dilate(mask, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))

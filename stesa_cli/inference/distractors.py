"""Objects do not come from nowhere, and move as a whole: while all of an object is there, what is predicted of it apart
from where it was is something that looks like it, and so is what stays behind as it moves on."""

import cv2
import numpy as np

REACH = 0.05
"""How far beside its last mask, carried along the flow, a part of an object may appear, in heights of the frame."""
MOVING, BEHIND = 1.5, 0.25
"""How far its largest part has moved against the background, in pixels at 480 lines, and what share of this another
part has, at most, that has been left behind."""
STAYED = 0.8
"""What share of its usual area an object must have: else some of it was hidden, and may come into view elsewhere."""
FADING = 0.97
"""What share of its usual area is left of it a frame later, where the object has become smaller."""
CRUMB = 0.02
"""What share of a given mask a part has, at most, that does not count as one."""
EDGE = 2
"""How far the soft edge of a mask reaches, in pixels."""


def usual_area(given: np.ndarray) -> float:
    """Of an object's given mask (H, W) in [0, 1], in pixels; infinite, so that nothing of it is ever a stray, where it
    is given in several parts."""
    areas = np.sort(cv2.connectedComponentsWithStats(_found(given))[2][1:, cv2.CC_STAT_AREA])[::-1]
    return float("inf") if areas[1:2].sum() > CRUMB * areas.sum() else float(areas.sum())


def strays(mask: np.ndarray, last: np.ndarray, usual: float, moved: np.ndarray) -> np.ndarray:
    """The pixels (H, W) bool of the parts of an object's ``mask`` (H, W) in [0, 1] that are not of it: those apart from
    its ``last`` mask, carried to the frame, and those left behind, as ``moved`` (h, w), how far each pixel has moved
    against the background in pixels at 480 lines, has it. None where what there is has not the ``usual`` area in
    pixels, in which what is left behind may be counted."""
    found = _found(mask)
    near = _dilated(_found(last), round(REACH * len(mask)))
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


def _found(mask: np.ndarray) -> np.ndarray:
    return (mask > 0.5).astype(np.uint8)


def _dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    return cv2.dilate(mask, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))

"""Objects do not come from nowhere, and move as a whole: what is predicted of one apart from where it was, while the
rest of it is still there, is something that looks like it; so is what stays behind, apart from it, as it moves on."""

import cv2
import numpy as np

REACH = 0.05
"""How far beside its last mask, carried along the flow, a part of an object may appear, in heights of the frame."""
STAYED = 0.8
"""What share of its usual area an object must have near its last mask, to be all there: else it was hidden, and may
come into view elsewhere."""
FADING = 0.98
"""What share of its usual area is left of it a frame later, where the object has become smaller."""
MOVING, BEHIND = 1.5, 0.25
"""How far its largest part has moved against the background, in pixels at 480 lines, and what share of this another
part has, at most, that has been left behind."""
EDGE = 2
"""How far the soft edge of a mask reaches, in pixels."""


def strays(mask: np.ndarray, last: np.ndarray, usual: float, moved: np.ndarray) -> np.ndarray:
    """Of an object's ``mask`` (H, W) in [0, 1] and its ``last`` one, carried to the frame: the pixels (H, W) bool of
    the parts that are apart from that; none where it may have moved there, or come back, as the rest of it has not its
    ``usual`` area in pixels. And those of the parts that are left behind, as ``moved`` (h, w), how far each pixel has
    moved against the background, in pixels at 480 lines, has it."""
    found, before = (mask > 0.5).astype(np.uint8), (last > 0.5).astype(np.uint8)
    near = _dilated(before, round(REACH * len(mask)))
    count, parts = cv2.connectedComponents(found)
    reached = np.bincount(parts[near > 0], minlength=count) > 0
    areas = np.bincount(parts.ravel(), found.ravel())
    if areas[reached].sum() < max(1, STAYED * usual):
        reached[:] = True
    speeds = np.bincount(parts.ravel(), cv2.resize(moved, mask.shape[::-1]).ravel()) / np.maximum(areas, 1)
    largest = speeds[areas.argmax()]
    if largest > MOVING:
        reached &= speeds > BEHIND * largest
    stayed = found * reached[parts]
    return (_dilated(found - stayed, EDGE) > 0) & (stayed == 0)


def _dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    return cv2.dilate(mask, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))

"""Objects do not come from nowhere: what is predicted of one apart from where it was, while the rest of it is still
there, is something that looks like it."""

import cv2
import numpy as np

REACH = 0.05
"""How far beside its last mask, carried along the flow, a part of an object may appear, in heights of the frame."""
STAYED = 0.5
"""What share of its last area an object must have near its last mask, to be still there."""
EDGE = 2
"""How far the soft edge of a mask reaches, in pixels."""


def strays(mask: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Of an object's ``mask`` (H, W) in [0, 1] and its ``last`` one, carried to the frame: the pixels (H, W) bool of
    the parts that are apart from that; none where the object may have moved there, or come back."""
    found, before = (mask > 0.5).astype(np.uint8), (last > 0.5).astype(np.uint8)
    near = _dilated(before, round(REACH * len(mask)))
    count, parts = cv2.connectedComponents(found)
    reached = np.bincount(parts[near > 0], minlength=count) > 0
    stayed = found * reached[parts]
    if stayed.sum() < max(1, STAYED * before.sum()):
        return np.zeros(mask.shape, bool)
    return (_dilated(found - stayed, EDGE) > 0) & (stayed == 0)


def _dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    return cv2.dilate(mask, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))

"""Objects do not come from nowhere: what is predicted of one apart from where it was, while the rest of it is still
there, is something that looks like it."""

import cv2
import numpy as np

REACH = 0.05
"""How far beside its last mask, carried along the flow, a part of an object may appear, in heights of the frame."""
STAYED = 0.8
"""What share of its usual area an object must have near its last mask, to be all there: else it was hidden, and may
come into view elsewhere."""
FADING = 0.98
"""What share of its usual area is left of it a frame later, where the object has become smaller."""
EDGE = 2
"""How far the soft edge of a mask reaches, in pixels."""


def strays(mask: np.ndarray, last: np.ndarray, usual: float) -> np.ndarray:
    """Of an object's ``mask`` (H, W) in [0, 1] and its ``last`` one, carried to the frame: the pixels (H, W) bool of
    the parts that are apart from that; none where it may have moved there, or come back, as the rest of it has not its
    ``usual`` area in pixels."""
    found, before = (mask > 0.5).astype(np.uint8), (last > 0.5).astype(np.uint8)
    near = _dilated(before, round(REACH * len(mask)))
    count, parts = cv2.connectedComponents(found)
    reached = np.bincount(parts[near > 0], minlength=count) > 0
    stayed = found * reached[parts]
    if stayed.sum() < max(1, STAYED * usual):
        return np.zeros(mask.shape, bool)
    return (_dilated(found - stayed, EDGE) > 0) & (stayed == 0)


def _dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    return cv2.dilate(mask, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))

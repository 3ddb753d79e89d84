"""Contour accuracy F: how well the outlines of two masks match (Perazzi et al., CVPR 2016, section 4).

The definition is that of the DAVIS benchmark, to the last bit: an outline pixel is matched when the other outline
passes within ``TOLERANCE`` image diagonals of it, and F is the harmonic mean of the matched shares of both outlines.
"""

from collections.abc import Sequence
from functools import cache
from math import ceil, hypot

import cv2
import numpy as np

from stesa_cli.metrics.region import object_masks, window

TOLERANCE = 0.008
"""Largest distance of matching outline pixels, as a share of the image diagonal; rounded up to whole pixels."""


def contour_accuracy(truth: np.ndarray, predicted: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """F of each object: (O,) float64 in [0, 1], from label maps (H, W) uint8.

    1 where both masks have no outline (empty, or the whole image), 0 where only one has none.
    """
    disk = _disk(ceil(TOLERANCE * hypot(*truth.shape)))
    return np.array([_f_measure(*masks, disk) for masks in object_masks(truth, predicted, ids)], dtype=np.float64)


def _f_measure(truth: np.ndarray, predicted: np.ndarray, disk: np.ndarray) -> float:
    box = window(truth | predicted)  # both outlines lie in it, whole: they reach one pixel beyond their mask at most
    true_outline, predicted_outline = _outline(truth[box]), _outline(predicted[box])
    true_length, predicted_length = cv2.countNonZero(true_outline), cv2.countNonZero(predicted_outline)
    if not true_length or not predicted_length:
        return float(true_length == predicted_length)
    precision = cv2.countNonZero(predicted_outline & cv2.dilate(true_outline, disk)) / predicted_length
    recall = cv2.countNonZero(true_outline & cv2.dilate(predicted_outline, disk)) / true_length
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _outline(mask: np.ndarray) -> np.ndarray:
    # (H, W) uint8 in {0, 1}: pixels unlike their neighbour to the right, below, or diagonally below to the right.
    # A 2 × 2 window that holds both values says the same; beyond the border there is nothing to differ from.
    return cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8), anchor=(0, 0))


@cache
def _disk(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)

"""Region similarity J: the Jaccard index of two masks (Perazzi et al., CVPR 2016, section 4)."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from stesa_cli.masks import VOID


def window(pixels: np.ndarray) -> tuple[slice, slice]:
    """The box of the non-zero pixels of (H, W) uint8 or bool, one pixel wider on each side as far as the image goes."""
    x, y, width, height = cv2.boundingRect(pixels.view(np.uint8))
    return np.s_[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1]


def object_masks(
    truth: np.ndarray, predicted: np.ndarray, ids: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The true and the predicted mask, each (h, w) bool, of every object; void pixels of the truth are in neither.

    ``truth`` and ``predicted`` are label maps (H, W) uint8. The masks cover their common ``window`` only: objects fill
    a small part of a frame, and whole frames of scratch memory cost more time than the sums.
    """
    box = window(truth | predicted)
    truth, predicted = truth[box], predicted[box]
    valid = truth != VOID
    for i in ids:
        yield truth == i, (predicted == i) & valid


def region_similarity(truth: np.ndarray, predicted: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """J of each object: (O,) float64 in [0, 1], from label maps (H, W) uint8; 1 where both masks are empty."""
    return np.array([_jaccard(*masks) for masks in object_masks(truth, predicted, ids)], dtype=np.float64)


def _jaccard(truth: np.ndarray, predicted: np.ndarray) -> float:
    union = np.count_nonzero(truth | predicted)
    return np.count_nonzero(truth & predicted) / union if union else 1.0

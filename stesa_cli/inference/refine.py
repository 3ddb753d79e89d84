"""Masks take the edges of the picture: the guided filter (He et al. 2013; its fast form, He and Sun 2015).

Around every pixel a mask is taken for a linear function of the picture's colours, which is found where the mask is
small and holds at the picture's full size: the network's masks have half its resolution, and less of the video's."""

import cv2
import numpy as np

RADIUS = 3
"""Of the neighbourhood, in pixels of the small mask."""
SMOOTH = 1e-4
"""Variance of a colour, in [0, 1], below which the picture has no edge."""


def sharpened(masks: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Masks (N, h, w) float32 in [0, 1] of an image (H, W, 3) uint8 RGB -> (N, H, W) float32 in [0, 1]."""
    full = image.astype(np.float32) / 255
    small = cv2.resize(full, masks.shape[:0:-1], interpolation=cv2.INTER_AREA)
    mean = _mean(small)
    rows = [_mean(small * small[..., i, None]) - mean * mean[..., i, None] for i in range(3)]
    for i, row in enumerate(rows):
        row[..., i] += SMOOTH
    inverse = [np.cross(rows[i - 2], rows[i - 1]) for i in range(3)]
    determinant = _dot(rows[0], inverse[0])
    result = np.empty((len(masks), *image.shape[:2]), np.float32)
    for mask, large in zip(masks, result, strict=True):
        level = _mean(mask)
        covariance = _mean(small * mask[..., None]) - mean * level[..., None]
        slopes = np.dstack([_dot(covariance, row) / determinant for row in inverse])
        line = np.dstack([slopes, level - _dot(slopes, mean)])
        line = cv2.resize(_mean(line), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        np.clip(_dot(line[..., :3], full) + line[..., 3], 0, 1, out=large)
    return result


def _mean(maps: np.ndarray) -> np.ndarray:
    """Of each pixel's neighbourhood, maps (h, w) or (h, w, C)."""
    return cv2.blur(maps, (2 * RADIUS + 1, 2 * RADIUS + 1), borderType=cv2.BORDER_REPLICATE)


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of vectors (h, w, 3), (h, w)."""
    return np.einsum("hwc,hwc->hw", one, other)

"""Clicks and boxes that snap to an object: GrabCut, begun from what is nearest to which clicks along paths that cross
few edges of the picture (geodesic distance)."""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

SIDE = 224  # long side in pixels at which the frame is seen
ROUNDS = 2
REACH = 0.25  # share of the width within which a click may have found its object
DOT = 0.02  # share of the width around a click that surely belongs with it
EDGE = 8.0  # pixels' way that crossing a difference of 1 in CIE Lab is worth

_FOUND = (cv2.GC_FGD, cv2.GC_PR_FGD)

Click = tuple[float, float, bool]
"""x, y in pixels of the frame, and whether the object is there."""


def snap(image: np.ndarray, clicks: Sequence[Click], box: Sequence[float] | None = None) -> np.ndarray:
    """(H, W) bool, the object in a frame (H, W, 3) uint8 RGB that the clicks mean, inside the ``box`` x, y, width,
    height, if there is one. Every part of it holds a click with the object, where there are any."""
    scale = min(1.0, SIDE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    ys, xs = np.mgrid[:height, :width]
    at = [(min(max(int(y * scale), 0), height - 1), min(max(int(x * scale), 0), width - 1)) for x, y, _ in clicks]
    own = [place for place, (*_, plus) in zip(at, clicks, strict=True) if plus]
    others = [place for place, (*_, plus) in zip(at, clicks, strict=True) if not plus]

    def around(places: Sequence[tuple[int, int]], share: float) -> np.ndarray:
        near = np.zeros((height, width), bool)
        for y, x in places:
            near |= np.hypot(ys - y, xs - x) < max(2, share * width)
        return near

    outside = np.zeros((height, width), bool)
    likely = np.ones((height, width), bool)
    if box:
        x, y, w, h = (side * scale for side in box)
        outside = (xs < x) | (xs > x + w) | (ys < y) | (ys > y + h)
    mask = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    if own:
        edge = np.pad(np.zeros((height - 2, width - 2)), 1, constant_values=1)
        border = [] if box else list(zip(*edge.nonzero(), strict=True))  # where there is hardly an object
        costs = _costs(small)

        def distance(places: Sequence[tuple[int, int]]) -> np.ndarray:
            if not places:
                return np.full((height, width), np.inf)
            starts = [y * width + x for y, x in places]
            return dijkstra(costs, directed=False, indices=starts, min_only=True).reshape(height, width)

        likely = (distance(own) < distance([*others, *border])) & (box is not None or around(own, REACH))
    mask[likely] = cv2.GC_PR_FGD
    mask[outside | around(others, DOT)] = cv2.GC_BGD
    mask[around(own, DOT) & ~outside & ~around(others, DOT / 2)] = cv2.GC_FGD
    if min(np.isin(mask, _FOUND).sum(), (~np.isin(mask, _FOUND)).sum()) >= 5:  # colour models that GrabCut begins with
        cv2.setRNGSeed(0)  # the same clicks, the same object
        cv2.grabCut(small, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(mask, _FOUND)
    if own:
        parts = cv2.connectedComponents(found.view(np.uint8), connectivity=4)[1]
        found &= np.isin(parts, [parts[place] for place in own])
    return cv2.resize(found.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5


def _costs(image: np.ndarray) -> csr_array:
    """What a step from each pixel of an image (h, w, 3) uint8 RGB to its eight neighbours costs: (h w, h w)."""
    height, width = image.shape[:2]
    smooth = cv2.GaussianBlur(image, (0, 0), 1).astype(np.float32) / 255
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    number = np.arange(height * width).reshape(height, width)
    steps = [(number[:, 1:], number[:, :-1], 1.0), (number[1:], number[:-1], 1.0)]
    steps += [(number[1:, 1:], number[:-1, :-1], 2**0.5), (number[1:, :-1], number[:-1, 1:], 2**0.5)]
    here = np.concatenate([a.ravel() for a, _, _ in steps])
    there = np.concatenate([b.ravel() for _, b, _ in steps])
    length = np.concatenate([np.full(a.size, far) for a, _, far in steps])
    cost = length + EDGE * np.linalg.norm(lab[here] - lab[there], axis=1)
    return coo_array((cost, (here, there)), shape=(height * width,) * 2).tocsr()

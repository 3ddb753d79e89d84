"""Clicks and boxes that snap to an object: GrabCut, begun from what the clicks tell about their surroundings."""

from collections.abc import Sequence

import cv2
import numpy as np

SIDE = 224  # long side in pixels at which GrabCut looks at the frame
ROUNDS = 2
REACH = 0.25  # share of the width within which a click may have found its object
DOT = 0.02  # share of the width around a click that surely belongs with it

Click = tuple[float, float, bool]
"""x, y in pixels of the frame, and whether the object is there."""


def snap(image: np.ndarray, clicks: Sequence[Click], box: Sequence[float] | None = None) -> np.ndarray:
    """(H, W) bool, the object in a frame (H, W, 3) uint8 RGB that the clicks mean, inside the ``box`` x, y, width,
    height, if there is one. Every part of it holds a click with the object, where there are any."""
    scale = min(1.0, SIDE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    ys, xs = np.mgrid[:height, :width]

    def distance(object_: bool) -> np.ndarray:
        each = [np.hypot(xs - x * scale, ys - y * scale) for x, y, own in clicks if own == object_]
        return np.min(each, axis=0) if each else np.full((height, width), np.inf)

    to_object, to_other = distance(True), distance(False)
    outside = np.zeros((height, width), bool)
    likely = (to_object < to_other) & (to_object < REACH * width)
    if box:
        x, y, w, h = (side * scale for side in box)
        outside = (xs < x) | (xs > x + w) | (ys < y) | (ys > y + h)
        likely = ~outside & (to_object <= to_other)
    mask = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    mask[outside | (to_other < DOT * width)] = cv2.GC_BGD
    mask[to_object < DOT * width] = cv2.GC_FGD
    sure = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if min(sure.sum(), (~sure).sum()) >= 5:  # colour models that cv2.grabCut begins with
        cv2.setRNGSeed(0)  # the same clicks, the same object
        cv2.grabCut(small, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if clicked := [(int(y * scale), int(x * scale)) for x, y, own in clicks if own]:
        parts = cv2.connectedComponents(found.view(np.uint8), connectivity=4)[1]
        found &= np.isin(parts, [parts[min(y, height - 1), min(x, width - 1)] for y, x in clicked])
    return cv2.resize(found.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5

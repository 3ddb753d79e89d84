"""Errors of predicted masks, for training: a part of an object is missing, or something beside it is taken for a part.
A network knows its training sequences too well to make such errors there, and without them does not learn to correct
its own."""

import cv2
import numpy as np

from stesa_cli.data.motion import Layer
from stesa_cli.masks import VOID

STRIDE = 4
"""Flaws are drawn at a fourth of the frame's resolution."""
MOST = 3
SIZES = 0.04, 0.35
"""Half axes of the ellipse that a flaw stays in, in heights of the frame."""
NEAR = 0.2
"""How far from the object something begins that is taken for a part, in heights of the frame."""
TOLERANCES = 8, 30
"""How much the colour within a flaw may differ, of 255."""


def draw_flaws(
    frame: np.ndarray, labels: np.ndarray, ids: list[int], lost: float, random: np.random.Generator
) -> np.ndarray:
    """Draw flaws for a frame (H, W, 3) uint8 RGB, its label map (H, W) uint8 and the ``ids`` that may have some; a
    share ``lost`` of them are lost parts. Returns the wrong labels (H / 4, W / 4) uint8, VOID where nothing is wrong.
    Most flaws end where the colour changes."""
    height, width = (side // STRIDE for side in labels.shape)
    small = cv2.GaussianBlur(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), (3, 3), 0)
    labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    flaws = np.full((height, width), VOID, np.uint8)
    for _ in range(random.integers(1, MOST + 1)):
        chosen, missing = ids[random.integers(len(ids))], random.random() < lost
        places = np.argwhere(labels == chosen)
        if not len(places):
            continue
        place = places[random.integers(len(places))] + (0 if missing else random.normal(0, NEAR * height, 2))
        y, x = np.clip(place.round().astype(int), 0, [height - 1, width - 1]).tolist()
        axes = np.maximum(1, random.uniform(*SIZES, 2) * height).astype(int).tolist()
        region = cv2.ellipse(np.zeros_like(labels), (x, y), axes, random.uniform(0, 180), 0, 360, 1, -1)
        if random.random() < 0.7:
            filled = np.zeros((height + 2, width + 2), np.uint8)
            limits = [random.uniform(*TOLERANCES)] * 3
            flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | 1 << 8
            cv2.floodFill(small, filled, (x, y), 0, limits, limits, flags)
            region = cv2.bitwise_and(region, cv2.dilate(filled[1:-1, 1:-1], np.ones((3, 3), np.uint8)))
        flaws[region > 0] = 0 if missing else chosen
    return flaws


def cover(layer: Layer, chosen: int, random: np.random.Generator) -> None:
    """Cover parts of the object ``chosen`` in the first frame of ``layer``, or in the first two, in place, with what is
    beside it: these parts are not in the prompt, and come into view later."""
    height, width = layer[0][1].shape
    places = np.argwhere(layer[0][1] == chosen)
    if not len(places):
        return
    region = np.zeros((height, width), np.uint8)
    scale = np.sqrt(len(places))
    for _ in range(random.integers(1, MOST + 1)):
        y, x = places[random.integers(len(places))].tolist()
        axes = np.maximum(1, random.uniform(0.15, 0.6, 2) * scale).astype(int).tolist()
        cv2.ellipse(region, (x, y), axes, random.uniform(0, 180), 0, 360, 1, -1)
    away = random.uniform(0.2, 0.8, 2) * (height, width)
    shift = away.astype(int).tolist()
    for t in range(random.integers(1, 3)):
        image, labels = layer[t]
        free = (region > 0) & (np.roll(labels, shift, (0, 1)) == 0)
        layer[t] = np.where(free[..., None], np.roll(image, shift, (0, 1)), image), np.where(free, 0, labels)

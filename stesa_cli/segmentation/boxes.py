"""Boxes around objects, and the objects in them."""

import re
from dataclasses import dataclass

import cv2
import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.masks import VOID

GRABCUT_SIDE = 400
"""Long side in pixels at which GrabCut looks at a box and its surroundings."""


@dataclass(frozen=True)
class Box:
    """A rectangle around an object, in pixels of the upright ``frame``."""

    id: int
    x: int
    y: int
    width: int
    height: int
    frame: int = 0

    def __str__(self) -> str:
        where = f"@{self.frame}" if self.frame else ""
        return f"--box {self.id}{where}={self.x},{self.y},{self.width},{self.height}"


def parse_box_option(text: str) -> Box:
    """``ID=x,y,w,h``, or ``ID@FRAME=x,y,w,h``. Raises InputError."""
    match = re.fullmatch(r"(\d+)(?:@(\d+))?=(\d+),(\d+),(\d+),(\d+)", text.replace(" ", ""))
    i, frame, x, y, width, height = (int(number or 0) for number in match.groups()) if match else (0,) * 6
    if not (0 < i < VOID and width and height):
        fix = "write ID=x,y,width,height in whole pixels, such as 1=40,60,200,120, with an id from 1 to 254"
        raise InputError(f"{text!r} is no box", "--box", fix)
    return Box(i, x, y, width, height, frame)


def object_in(image: np.ndarray, box: Box, taken: np.ndarray) -> tuple[np.ndarray, bool]:
    """(H, W) bool, the object in a box of a frame (H, W, 3) uint8 RGB, as GrabCut finds it in the box and half as much
    around, without the pixels ``taken`` (H, W) bool by others; where it finds none, the ellipse that fills the box.
    And whether it found one. Raises InputError when others have taken all of it."""
    height, width = taken.shape
    top, left = max(0, box.y - box.height // 4), max(0, box.x - box.width // 4)
    bottom = min(height, box.y + box.height + box.height // 4)
    right = min(width, box.x + box.width + box.width // 4)
    crop = np.s_[top:bottom, left:right]
    inside, found = np.zeros(taken.shape, bool), np.zeros(taken.shape, bool)
    inside[box.y : box.y + box.height, box.x : box.x + box.width] = True
    found[crop] = _grabcut(image[crop], inside[crop])
    found &= inside & ~taken
    by_colour = bool(found.any())
    if not by_colour:
        ellipse = np.zeros(taken.shape, np.uint8)
        middle = (box.x + (box.width - 1) / 2, box.y + (box.height - 1) / 2)
        cv2.ellipse(ellipse, (middle, (box.width, box.height), 0), 1, cv2.FILLED)
        found = (ellipse > 0) & inside & ~taken
    if not found.any():
        raise InputError("other objects cover it", str(box), "draw the box elsewhere, or leave it out")
    return found, by_colour


def _grabcut(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(h, w) bool: what stands out of an image (h, w, 3) uint8 RGB ``inside`` (h, w) bool; nothing when there are too
    few pixels in it, or around, to tell them apart."""
    scale = min(1.0, GRABCUT_SIDE / max(inside.shape))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    reduced = cv2.resize(inside.view(np.uint8), small.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    mask = np.where(reduced, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if min(reduced.sum(), (~reduced).sum()) < 5:  # colour models that cv2.grabCut begins with
        return np.zeros(inside.shape, bool)
    cv2.setRNGSeed(0)  # the same box, the same object
    cv2.grabCut(small, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    found = (mask == cv2.GC_PR_FGD).astype(np.float32)
    return cv2.resize(found, inside.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5

"""Where the network looks: at the whole frame or, where that had to be reduced, at a crop that follows small objects,
and so shows them larger."""

from dataclasses import dataclass

import cv2
import numpy as np

ROOM = 2.0
"""How many times as high and wide as its objects a new crop is, at least."""
MARGIN = 0.15
"""What share of its height and width an old crop leaves beside them, at least."""
SHRINKING, GROWING = 1.6, 1.15
"""An old crop is kept until it is so many times larger, or smaller, than a new one."""
LOST = 1.3
"""How fast the crop grows while no object is seen."""

Box = tuple[float, float, float, float]
"""Top, left, bottom, right in pixels of the frame."""


@dataclass(frozen=True)
class Crop:
    """A part of a frame, in its pixels, of the frame's aspect ratio."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """What it shows of an image or a label map (H, W, …)."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def box(self, seen: np.ndarray) -> Box | None:
        """Around what ``seen`` (h, w) bool marks in it, at any scale; None where that is nothing."""
        down, across = self.height / seen.shape[0], self.width / seen.shape[1]
        x, y, width, height = cv2.boundingRect(seen.view(np.uint8))
        if not width:
            return None
        top, left = self.top + y * down, self.left + x * across
        return top, left, top + height * down, left + width * across


def whole(frame: tuple[int, ...]) -> Crop:
    """The crop that shows all of a frame (H, W)."""
    return Crop(0, 0, *frame[:2])


def union(boxes: list[Box | None]) -> Box | None:
    """The box around all boxes; None where there is none."""
    if not (found := [box for box in boxes if box is not None]):
        return None
    top, left, bottom, right = zip(*found, strict=True)
    return min(top), min(left), max(bottom), max(right)


def around(box: Box | None, frame: tuple[int, ...], least: float, old: Crop | None = None) -> Crop:
    """The crop for the objects in ``box`` of a ``frame`` (H, W): ``old`` while it serves, or a new one that shows
    ``least`` of its height and width at least."""
    height, width = frame
    if box is not None:
        top, left, bottom, right = box
        share = ROOM * max((bottom - top) / height, (right - left) / width)
    else:
        assert old is not None  # the first frame has an object
        top, left, bottom, right = old.top, old.left, old.top + old.height, old.left + old.width
        share = LOST * old.height / height
    share = min(max(share, least), 1)
    if box is not None and old is not None:
        within = all(
            (start == 0 or first >= start + MARGIN * length)
            and (start + length == end or last <= start + (1 - MARGIN) * length)
            for first, last, start, length, end in (
                (top, bottom, old.top, old.height, height),
                (left, right, old.left, old.width, width),
            )
        )
        if within and 1 / SHRINKING < share / (old.height / height) < GROWING:
            return old
    tall, wide = round(share * height), round(share * width)
    first_row, first_column = round((top + bottom - tall) / 2), round((left + right - wide) / 2)
    return Crop(min(max(first_row, 0), height - tall), min(max(first_column, 0), width - wide), tall, wide)

"""What the user marks in a frame to find an object, or to correct its mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np


@dataclass(frozen=True, eq=False)
class Mark:
    """A click or a scribble: points (N, 2) float, x and y in pixels of the frame, and whether the object is there."""

    points: np.ndarray
    plus: bool


@dataclass(frozen=True, eq=False)
class Asked:
    """The ``marks`` of an object, inside the ``box`` x, y, width, height, if there is one. ``before`` (H, W) bool is
    its mask before the last mark; where these ``corrects``, before all of them, and right but for what they say."""

    marks: Sequence[Mark]
    box: Sequence[float] | None = None
    before: np.ndarray | None = None
    corrects: bool = False

    @classmethod
    def parse(cls, values: Any, size: tuple[int, int]) -> "Asked":
        """From what a page has sent: a mark is {points: [[x, y], …], plus}, a mask the lengths of its runs, row by row,
        the first of what it is not. Raises ValueError."""
        try:
            marks = [Mark(np.array(m["points"], float).reshape(-1, 2), bool(m["plus"])) for m in values["marks"]]
            box = [float(side) for side in values.get("box") or ()]
            runs = values.get("before") or []
            before = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size) if runs else None
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("no marks") from error
        if len(box) not in (0, 4) or not np.isfinite(box).all():
            raise ValueError("no box")
        if not all(mark.points.size and np.isfinite(mark.points).all() for mark in marks):
            raise ValueError("no points")
        return cls(marks, box or None, before, before is not None and bool(values.get("corrects")))

    def drawn(self, plus: bool, shape: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """The marks of one kind (see ``drawn``)."""
        return drawn([mark for mark in self.marks if mark.plus == plus], shape, size)

    def outside(self, shape: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """What is outside the box in a frame of ``shape``, in one of ``size``: (h, w) bool."""
        outside = np.zeros(tuple(size), bool)
        if self.box:
            (x, y, w, h), down, across = self.box, size[0] / shape[0], size[1] / shape[1]
            ys, xs = np.mgrid[: size[0], : size[1]]
            outside = (xs < x * across) | (xs > (x + w) * across) | (ys < y * down) | (ys > (y + h) * down)
        return outside


def drawn(marks: Sequence[Mark], shape: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Marks in a frame of ``shape``, one pixel wide in one of ``size``: (h, w) bool."""
    canvas, scale = np.zeros(tuple(size), np.uint8), np.array([size[1] / shape[1], size[0] / shape[0]])
    for mark in marks:
        places = np.clip((mark.points * scale).astype(int), 0, [size[1] - 1, size[0] - 1])
        cv2.polylines(canvas, [np.concatenate([places, places[-1:]]).astype(np.int32)], False, 1)
    return canvas > 0

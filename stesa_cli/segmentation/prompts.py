"""What the user gives about the objects of one video: masks and boxes of some of its frames."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.masks import VOID, mask_size, object_ids, read_mask

STRAY = 1e-4
"""Share of the frame below which an object may be a slip of the pen."""
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


def parse_mask_option(text: str) -> tuple[int | None, Path]:
    """``FRAME=PNG`` as the frame's number and its mask; or, without a number, the PNG of the first frame or a folder of
    masks named by their frame. What exists is a path, whatever ``=`` is in it."""
    match = re.fullmatch(r"([0-9]+)=(.+)", text)
    return (int(match[1]), Path(match[2])) if match and not Path(text).exists() else (None, Path(text))


def parse_box_option(text: str) -> Box:
    """``ID=x,y,w,h``, or ``ID@FRAME=x,y,w,h``. Raises InputError."""
    match = re.fullmatch(r"(\d+)(?:@(\d+))?=(\d+),(\d+),(\d+),(\d+)", text.replace(" ", ""))
    i, frame, x, y, width, height = (int(number or 0) for number in match.groups()) if match else (0,) * 6
    if not (0 < i < VOID and width and height):
        fix = "write ID=x,y,width,height in whole pixels, such as 1=40,60,200,120, with an id from 1 to 254"
        raise InputError(f"{text!r} is no box", "--box", fix)
    return Box(i, x, y, width, height, frame)


class Given:
    """The ``masks`` and ``boxes`` of one video, as texts (see ``parse_mask_option`` and ``parse_box_option``).

    ``frames`` are the numbers of the frames they belong to, rising, from the first that shows an object on. A mask is
    read when its frame is asked for, so that any number of them takes constant memory. ``size`` is height and width of
    the upright video; objects of a mask with fewer than ``min_area`` pixels are dropped. ``names`` are those of a
    folder's frames: masks in a folder that go by them belong to these frames.

    ``notes`` are lines for the user, and ``boxes`` says what became of each box, both as far as frames were asked for.
    Raises InputError with all that can be seen at once to be wrong."""

    def __init__(
        self,
        masks: Sequence[str],
        boxes: Sequence[str],
        size: tuple[int, int],
        min_area: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        self.notes: list[str] = []
        self.boxes: list[dict[str, Any]] = []
        self._size, self._min_area = size, min_area
        self._names = {name: index for index, name in enumerate(names)}
        self._problems: list[str] = []
        self._masks = self._found([parse_mask_option(text) for text in masks])
        self._boxes = self._parsed(boxes)
        for path in self._masks.values():
            self._check_size(path)
        if not (masks or boxes):
            self._problem("no object is given", "", "add --mask or --box, or put a PNG of the video's name beside it")
        self.frames = self._from_first_object() if not self._problems else []
        if self._problems:
            raise InputError("; ".join(dict.fromkeys(self._problems)))

    def labels(self, index: int, image: np.ndarray) -> np.ndarray | None:
        """The label map (H, W) uint8 given for a frame (H, W, 3) uint8 RGB, 255 where nothing is known; None when no
        object is given there. Raises InputError when its mask is broken, or a box all covered."""
        if index not in self.frames:
            return None
        path = self._masks.get(index)
        labels = self._read(path) if path else np.zeros(image.shape[:2], np.uint8)
        notes = self._notes(path, labels) if path else []
        self.notes += [note for note in notes if note not in self.notes]
        for box in [box for box in self._boxes if box.frame == index]:
            taken = (labels > 0) & (labels < VOID)
            labels[_inside(image, box, taken)] = box.id
            area = int((labels == box.id).sum())
            result = {"id": box.id, "frame": index, "box": [box.x, box.y, box.width, box.height], "area": area}
            self.boxes += [result] if result not in self.boxes else []
        return labels if object_ids(labels) else None

    def _found(self, options: Sequence[tuple[int | None, Path]]) -> dict[int, Path]:
        found: dict[int, Path] = {}
        for frame, path in options:
            if frame is None and "=" in path.name and not path.exists():
                self._problem("has no number of a frame before its =", path, "write FRAME=PNG, such as 57=better.png")
                continue
            for number, mask in self._named_by_frame(path) if frame is None and path.is_dir() else [(frame or 0, path)]:
                if number in found:
                    self._problem(f"frame {number} has two masks, {found[number]} and {mask}", "", "give one a frame")
                found.setdefault(number, mask)
        return found

    def _named_by_frame(self, folder: Path) -> list[tuple[int, Path]]:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith("."))
        fix = "name masks by their frame, such as 00012.png"
        if not paths:
            self._problem("no masks in this folder", folder, fix)
        by_name = any(path.stem in self._names for path in paths)
        found = []
        for path in paths:
            numbers = re.findall("[0-9]+", path.stem)
            frame = self._names.get(path.stem) if by_name else int(numbers[-1]) if numbers else None
            if frame is None:
                self._problem("no frame has its name" if by_name else "its name tells no frame", path, fix)
            else:
                found.append((frame, path))
        return found

    def _parsed(self, texts: Sequence[str]) -> list[Box]:
        boxes: dict[tuple[int, int], Box] = {}
        height, width = self._size
        for text in texts:
            try:
                box = parse_box_option(text)
            except InputError as error:
                self._problems.append(str(error))
                continue
            if box.x + box.width > width or box.y + box.height > height:
                self._problem(f"reaches out of the frame of {width}×{height}", str(box), "give pixels of the frame")
            if other := boxes.get((box.frame, box.id)):
                self._problem(f"the id is that of {other}", str(box), "give each object its own")
            boxes[box.frame, box.id] = box
        return list(boxes.values())

    def _check_size(self, path: Path) -> None:
        try:
            size = mask_size(path)
        except InputError as error:
            self._problems.append(str(error))
            return
        if size != self._size[::-1]:
            sizes = "is {}×{}, but the video {}×{}".format(*size, *self._size[::-1])
            self._problem(sizes, path, "give a mask of the video's size, as it is seen upright")

    def _from_first_object(self) -> list[int]:
        boxed = {box.frame for box in self._boxes}
        frames = sorted(boxed | self._masks.keys())
        for box in self._boxes:
            path = self._masks.get(box.frame)
            if path and box.id in object_ids(self._read(path)):
                self._problem(f"the id is that of an object in {path}", str(box), "take another")
        for place, frame in enumerate(frames):
            if frame in boxed or object_ids(self._read(self._masks[frame])):
                return frames[place:]
        what = "holds no object" + (f" of {self._min_area} px or more" if self._min_area else "")
        where = ", ".join(str(self._masks[frame]) for frame in frames[:3]) + ", …" * (len(frames) > 3)
        self._problem(what, where, "mark each object with its own id from 1 to 254")
        return []

    def _read(self, path: Path) -> np.ndarray:
        labels = read_mask(path)
        ids, areas = np.unique(labels[labels > 0], return_counts=True)
        if ids.tolist() == [VOID]:  # all it could mean
            labels, ids = np.minimum(labels, 1), np.array([1])
        small = ids[(areas < self._min_area) & (ids != VOID)]
        labels[np.isin(labels, small)] = 0
        return labels

    def _notes(self, path: Path, labels: np.ndarray) -> list[str]:
        notes = []
        ids, areas = np.unique(labels[labels > 0], return_counts=True)
        for i, area in zip(ids.tolist(), areas.tolist(), strict=True):
            if i == VOID:
                notes.append(f"mask {path}: the {area} px of id 255 belong to no object: ids are from 1 to 254")
            elif not self._min_area and area < STRAY * labels.size:
                advice = f"a stray edge? drop it with --min-area {area + 1}"
                notes.append(f"mask {path}: id {i} has {area} px: {advice}")
        return notes

    def _problem(self, what: str, where: str | Path, fix: str) -> None:
        self._problems.append(str(InputError(what, where, fix)))


def _inside(image: np.ndarray, box: Box, taken: np.ndarray) -> np.ndarray:
    """(H, W) bool: the object in a box of a frame (H, W, 3) uint8 RGB, as GrabCut finds it in the box and half as much
    around, without the pixels ``taken`` (H, W) bool by others; where it finds none, the ellipse that fills the box.
    Raises InputError when others have taken all of it."""
    height, width = taken.shape
    top, left = max(0, box.y - box.height // 4), max(0, box.x - box.width // 4)
    bottom = min(height, box.y + box.height + box.height // 4)
    right = min(width, box.x + box.width + box.width // 4)
    crop = np.s_[top:bottom, left:right]
    inside, found = np.zeros(taken.shape, bool), np.zeros(taken.shape, bool)
    inside[box.y : box.y + box.height, box.x : box.x + box.width] = True
    found[crop] = _grabcut(image[crop], inside[crop])
    found &= inside & ~taken
    if not found.any():
        ellipse = np.zeros(taken.shape, np.uint8)
        middle = (box.x + (box.width - 1) / 2, box.y + (box.height - 1) / 2)
        cv2.ellipse(ellipse, (middle, (box.width, box.height), 0), 1, cv2.FILLED)
        found = (ellipse > 0) & inside & ~taken
    if not found.any():
        raise InputError("other objects cover it", str(box), "draw the box elsewhere, or leave it out")
    return found


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

"""What the user gives about the objects of one video: masks and boxes of some of its frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stesa_cli.errors import InputError, printable
from stesa_cli.masks import VOID, object_ids, read_mask_with_notes
from stesa_cli.segmentation.boxes import Box, object_in, parse_box_option
from stesa_cli.segmentation.mask_options import GivenMask, masks_by_frame

STRAY = 1e-4
"""Share of the frame below which an object may be a slip of the pen."""
WHOLE = 0.8
"""Share of the frame above which an object that touches all its sides may be the background."""
TOLD = 8  # notes


@dataclass(frozen=True, eq=False)
class Prompt:
    """What is given in one frame."""

    labels: np.ndarray | None = None  # (H, W) uint8, 255 where nothing is known; None where no object is given
    boxes: tuple[dict[str, Any], ...] = ()  # what became of each box, for the report
    notes: tuple[str, ...] = ()  # what only the frame could tell


class Prompts:
    """The ``masks`` and ``boxes`` of one video, as texts (see ``mask_options`` and ``boxes``), checked.

    ``size`` is height and width of the upright video; objects of a mask with fewer than ``min_area`` pixels are
    dropped. ``names`` are those of a folder's frames: masks that go by them belong to these frames.

    ``frames`` are the numbers of the frames that are given something, rising, from the first that shows an object on;
    ``notes`` are lines for the user. Every mask is read once to see that it is good, and again when its frame is asked
    for, so that any number of them takes constant memory.
    Raises InputError with all that is wrong."""

    def __init__(
        self,
        masks: Sequence[str],
        boxes: Sequence[str],
        size: tuple[int, int],
        min_area: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        self._size, self._min_area = size, min_area
        self._masks, problems, notes = masks_by_frame(masks, names)
        self._boxes = _parsed(boxes, size, problems)
        areas: dict[int, dict[int, int]] = {}
        for frame, files in self._masks.items():
            try:
                labels, more = self._read(files)
            except InputError as error:
                problems.append(str(error))
                continue
            areas[frame] = _areas(labels)
            notes += more
        if not (masks or boxes):
            fix = "add --mask or --box, or put a PNG of the video's name beside it"
            problems.append(str(InputError("no object is given", fix=fix)))
        problems += _clashes(self._boxes, self._masks, areas)
        self.frames = self._from_first_object(areas, problems)
        if problems:
            raise InputError("; ".join(dict.fromkeys(problems)))
        self.notes = _few(notes)
        self._areas = areas

    def labels(self, index: int, image: np.ndarray) -> Prompt:
        """What is given in a frame (H, W, 3) uint8 RGB. Raises InputError when its mask is broken, or a box covered."""
        if index not in self.frames:
            return Prompt()
        files = self._masks.get(index)
        labels = self._read(files)[0] if files else np.zeros(image.shape[:2], np.uint8)
        became: list[dict[str, Any]] = []
        notes: list[str] = []
        for box in [box for box in self._boxes if box.frame == index]:
            inside, by_colour = object_in(image, box, taken=(labels > 0) & (labels < VOID))
            labels[inside] = box.id
            area = int((labels == box.id).sum())
            became.append({"id": box.id, "frame": index, "box": [box.x, box.y, box.width, box.height], "area": area})
            if not by_colour:
                notes.append(f"{box}: no object stands out by its colours, so the ellipse that fills it is taken")
        return Prompt(labels if object_ids(labels) else None, tuple(became), tuple(notes))

    def describe(self) -> str:
        """One line on the first frame's objects, and how many frames more are given something."""
        first, parts = self.frames[0], []
        if files := self._masks.get(first):
            ids = {i: area for i, area in self._areas[first].items() if i != VOID}
            sizes = ", ".join(f"{i}: {area:,} px" for i, area in ids.items())
            name = files[0].path.name if len(files) == 1 else f"{len(files)} files"
            parts.append(f"mask {name}: {len(ids)} object{'s' * (len(ids) != 1)} ({sizes})")
        parts += [str(box).removeprefix("--") for box in self._boxes if box.frame == first]
        line = ", ".join(parts) + (f", of frame {first}" if first else "")
        later = len(self.frames) - 1
        line = printable(line)
        return f"{line}; {later} later frame{'s' * (later != 1)} with masks or boxes" if later else line

    def _read(self, files: Sequence[GivenMask]) -> tuple[np.ndarray, list[str]]:
        """The label map (H, W) uint8 of one frame, and notes. Raises InputError."""
        read = [self._one(mask.path) for mask in files]
        notes = [f"mask {mask.path}: {note}" for mask, (_, more) in zip(files, read, strict=True) for note in more]
        if len(files) == 1 and files[0].id is None:
            labels = read[0][0]
        else:
            labels, more = _joined(files, [labels for labels, _ in read])
            notes += more
        return labels, notes + self._doubts(files[0].path, labels)

    def _one(self, path: Path) -> tuple[np.ndarray, list[str]]:
        labels, notes = read_mask_with_notes(path)
        if labels.shape != self._size:
            sizes = "is {}×{}, but the video {}×{}".format(*labels.shape[::-1], *self._size[::-1])
            raise InputError(sizes, path, "give a mask of the video's size, as it is seen upright")
        areas = _areas(labels)
        if list(areas) == [VOID]:  # all it could mean
            labels, areas = np.minimum(labels, 1), {1: areas[VOID]}
        small = [i for i, area in areas.items() if area < self._min_area and i != VOID]
        labels[np.isin(labels, small)] = 0
        return labels, notes

    def _doubts(self, path: Path, labels: np.ndarray) -> list[str]:
        notes = []
        for i, area in _areas(labels).items():
            if i == VOID:
                notes.append(f"mask {path}: the {area} px of id 255 belong to no object: ids are from 1 to 254")
            elif not self._min_area and area < STRAY * labels.size:
                notes.append(f"mask {path}: id {i} has {area} px: a stray edge? drop it with --min-area {area + 1}")
            elif area > WHOLE * labels.size and all((side == i).any() for side in _sides(labels)):
                share = f"covers {100 * area / labels.size:.0f} % and touches all four sides"
                notes.append(f"mask {path}: object {i} {share}: if that is the background, invert the mask")
        return notes

    def _from_first_object(self, areas: Mapping[int, Mapping[int, int]], problems: list[str]) -> tuple[int, ...]:
        boxed = {box.frame for box in self._boxes}
        frames = sorted(boxed | self._masks.keys())
        for place, frame in enumerate(frames):
            if frame in boxed or set(areas.get(frame, {})) - {VOID}:
                return tuple(frames[place:])
        if frames and not problems:
            what = "holds no object" + (f" of {self._min_area} px or more" if self._min_area else "")
            paths = [str(mask.path) for files in self._masks.values() for mask in files]
            where = ", ".join(paths[:3]) + ", …" * (len(paths) > 3)
            problems.append(str(InputError(what, where, "mark each object with its own id from 1 to 254")))
        return ()


def _joined(files: Sequence[GivenMask], masks: Sequence[np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """One label map (H, W) uint8 of the masks of a frame that hold one object each, later ones on top, and notes."""
    own = [object_ids(labels) for labels in masks]
    for mask, ids in zip(files, own, strict=True):
        if len(ids) > 1:
            fix = "give one mask with all ids, or each object its own"
            raise InputError(f"holds {len(ids)} objects, and its frame has other masks", mask.path, fix)
    told = [i for ids in own for i in ids]
    apart = len(set(told)) == len(told) == len(files)  # their ids tell them apart
    numbers = [mask.id or (own[n][0] if apart else n + 1) for n, mask in enumerate(files)]
    if doubled := [mask for n, mask in enumerate(files) if numbers[n] in numbers[:n]]:
        what = f"frame has two masks of object {numbers[files.index(doubled[0])]}"
        raise InputError(what, doubled[0].path, "give one of each object")
    if max(numbers) >= VOID:
        raise InputError(f"would be object {max(numbers)}", files[-1].path, "use ids up to 254")
    names = [mask.name or mask.path.name for mask in files]
    notes = []
    if len(files) > 1:
        notes.append("masks of one frame are joined: " + ", ".join(map("{} is {}".format, numbers, names)))
    joined = np.zeros_like(masks[0])
    for i, name, labels in zip(numbers, names, masks, strict=True):
        object_ = (labels > 0) & (labels < VOID)
        if covered := int((joined[object_] > 0).sum()):
            notes.append(f"mask {name}: lies on {covered:,} px of objects given before it, and is taken to be on top")
        joined[object_] = i
    return joined, notes


def _parsed(texts: Sequence[str], size: tuple[int, int], problems: list[str]) -> list[Box]:
    boxes: dict[tuple[int, int], Box] = {}
    height, width = size
    for text in texts:
        try:
            box = parse_box_option(text)
        except InputError as error:
            problems.append(str(error))
            continue
        if box.x + box.width > width or box.y + box.height > height:
            what = f"reaches out of the frame of {width}×{height}"
            problems.append(str(InputError(what, str(box), "give pixels of the frame")))
        if other := boxes.get((box.frame, box.id)):
            problems.append(str(InputError(f"the id is that of {other}", str(box), "give each object its own")))
        boxes[box.frame, box.id] = box
    return list(boxes.values())


def _clashes(
    boxes: Sequence[Box], masks: Mapping[int, Sequence[GivenMask]], areas: Mapping[int, Mapping[int, int]]
) -> list[str]:
    return [
        str(InputError(f"the id is that of an object in {masks[box.frame][0].path}", str(box), "take another"))
        for box in boxes
        if box.id in areas.get(box.frame, {})
    ]


def _areas(labels: np.ndarray) -> dict[int, int]:
    counts = np.bincount(labels.ravel(), minlength=256)
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts) if i}


def _sides(labels: np.ndarray) -> tuple[np.ndarray, ...]:
    return labels[0], labels[-1], labels[:, 0], labels[:, -1]


def _few(notes: Sequence[str]) -> tuple[str, ...]:
    told = tuple(dict.fromkeys(map(printable, notes)))
    return (*told[:TOLD], f"and {len(told) - TOLD} more notes on masks") if len(told) > TOLD + 1 else told

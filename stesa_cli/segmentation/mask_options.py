"""Which mask files the user means for which frames."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stesa_cli.errors import InputError
from stesa_cli.files import exists, natural, without_mask

SUFFIXES = {".png", ".tif", ".tiff", ".bmp", ".webp", ".gif"}
LOSSY = {".jpg", ".jpeg"}
"""Masks only in a folder without any of SUFFIXES; beside them they may be frames."""
_FIX = "name masks by their frame, such as 00012.png"
_OBJECT = r"(?:.*[^a-z])?(?:obj|object|inst|instance|id)[ _-]*([0-9]+)"  # object_2.png tells no frame
_FRAME_AND_OBJECT = r"(.*[0-9])[ _-]+(?:(?:obj|object|inst|instance|id)[ _-]*)?([0-9]+)"  # 00000_1.png tells both
_NUMBERED = r"(?:(?:frame|image|img|mask)[ _-]*)?([0-9]+)(?:[ _-]*mask)?"
_TAGGED = r"task-[0-9]+-annotation-.*-tag-.*"  # of Label Studio, nor does this


@dataclass(frozen=True)
class GivenMask:
    """A mask file; of one object, whose id does not stand in it, where ``id`` is set. ``name`` is for notes."""

    path: Path
    id: int | None = None
    name: str = ""


def parse_mask_option(text: str) -> tuple[int | None, Path]:
    """``FRAME=PNG`` as the frame's number and its mask; or, without a number, the PNG of the first frame or a folder of
    masks named by their frame. What exists is a path, whatever ``=`` is in it."""
    match = re.fullmatch(r"([0-9]+)=(.+)", text)
    return (int(match[1]), Path(match[2])) if match and not exists(Path(text)) else (None, Path(text))


def mask_files(options: Sequence[str]) -> list[Path]:
    """The files among the masks given: these are no frames, wherever they lie."""
    return [path for _, path in map(parse_mask_option, options) if exists(path) and path.is_file()]


def masks_by_frame(
    options: Sequence[str], names: Sequence[str] = ()
) -> tuple[dict[int, list[GivenMask]], list[str], list[str]]:
    """The masks of each frame, in the order given, a line on each option that is wrong, and notes on those whose frame
    may be another than meant.

    A folder holds masks named by their frame, or by frame and object, such as 00000_1.png; or one object a file, all of
    the first frame; or a folder for each object, with masks named by their frame. ``names`` are those of the frames of
    a folder: a mask of such a name belongs to that frame."""
    found: dict[int, list[GivenMask]] = {}
    problems: list[str] = []
    notes: list[str] = []
    numbers = {name: index for index, name in enumerate(names)}
    for text in options:
        frame, path = parse_mask_option(text)
        try:
            if frame is None and "=" in path.name and not exists(path):
                raise InputError(
                    "has no number of a frame before its =", path, "write FRAME=PNG, such as 57=better.png"
                )
            if path.is_dir():
                each = _of_folder(path, numbers) if frame is None else [(frame, GivenMask(p)) for p in _images(path)]
                notes += _doubts_of_folder(path, each, names) if frame is None else []
            else:
                own, i = _own_frame(path.stem, numbers)
                at = (own or 0) if frame is None else frame
                each = [(at, GivenMask(path, i if at == own else None))]
                notes += _doubts(path, frame, own, names)
        except InputError as error:
            problems.append(str(error))
            continue
        for number, mask in each:
            found.setdefault(number, []).append(mask)
    return dict(sorted(found.items())), problems, notes


def _own_frame(stem: str, numbers: Mapping[str, int]) -> tuple[int | None, int | None]:
    """The frame of a folder that has a mask's name, and the number of its object where that follows."""
    for name in (stem, without_mask(stem)):
        if name in numbers:
            return numbers[name], None
    match = re.fullmatch(_FRAME_AND_OBJECT, stem)
    return (numbers[match[1]], max(1, int(match[2]))) if match and match[1] in numbers else (None, None)


def _doubts(path: Path, frame: int | None, own: int | None, names: Sequence[str]) -> list[str]:
    """On a mask given by itself, for a frame or for the one of its ``own`` name, if any, or else for the first."""
    if frame is None and own is not None:
        return [f"mask {path}: is of frame {own}, as its name says"] if own else []
    if frame is None:
        number = re.fullmatch(_NUMBERED, path.stem.lower())
        if number and names:
            return [f"mask {path}: no frame has its name, so it is taken for frame 0 ({names[0]})"]
        if number and int(number[1]):
            return [f"mask {path}: is taken for frame 0, whatever its name: for another, write {int(number[1])}={path}"]
        return []
    called = own if own is not None else _called(frame, names)
    if not names or called == frame or (called is None and frame < len(names)):
        return []
    is_there = f"is the one named {names[frame]}" if frame < len(names) else "is not there"
    other = "" if called is None else f": the one named {names[called]} is {called}"
    return [f"mask {path}: frame {frame} {is_there}, as frames count from 0{other}"]


def _called(number: int, names: Sequence[str]) -> int | None:
    """The frame whose name is this number."""
    return next((i for i, name in enumerate(names) if name.isdecimal() and int(name) == number), None)


def _doubts_of_folder(folder: Path, masks: Sequence[tuple[int, GivenMask]], names: Sequence[str]) -> list[str]:
    frame, mask = masks[0]
    by_name = any(_own_frame(each.path.stem, dict.fromkeys(names, 0))[0] is not None for _, each in masks)
    if by_name or frame >= len(names) or _last_number(names[frame]) in (None, frame):
        return []
    where = f"{mask.path.name} is of frame {frame} ({names[frame]})"
    return [f"masks {folder}: no frame has their names, so they go by their numbers, from 0: {where}"]


def _of_folder(folder: Path, numbers: dict[str, int]) -> list[tuple[int, GivenMask]]:
    if _images(folder, may_be_empty=True):
        return _named_by_frame(folder, numbers)
    objects = sorted((p for p in folder.iterdir() if p.is_dir() and _images(p, True)), key=lambda p: natural(p.name))
    if not objects:
        raise InputError("no masks in this folder", folder, _FIX)
    ids = list(range(1, len(objects) + 1))
    if all(re.fullmatch("[0-9]+", each.name) for each in objects):
        own = [int(each.name) for each in objects]
        ids = [i + (0 in own) for i in own]  # 0 is the background
    return [
        (frame, GivenMask(mask.path, i, str(each)))
        for i, each in zip(ids, objects, strict=True)
        for frame, mask in _named_by_frame(each, numbers)
    ]


def _named_by_frame(folder: Path, numbers: dict[str, int]) -> list[tuple[int, GivenMask]]:
    paths = _images(folder)
    own = [numbers.get(path.stem, numbers.get(without_mask(path.stem))) for path in paths]
    by_name = any(frame is not None for frame in own)
    if not by_name:
        if both := _named_by_frame_and_object(folder, paths, numbers):
            return both
        objects = [re.fullmatch(_OBJECT, path.stem.lower()) for path in paths]
        if all(objects):
            return [(0, GivenMask(path, int(match[1]))) for path, match in zip(paths, objects, strict=True) if match]
        if all(re.fullmatch(_TAGGED, p.stem) for p in paths) or not any(re.search("[0-9]", p.stem) for p in paths):
            return [(0, GivenMask(path)) for path in paths]
    frames = own if by_name else [_last_number(path.stem) for path in paths]
    if nameless := [path for path, frame in zip(paths, frames, strict=True) if frame is None]:
        what = "no frame has its name" if by_name else "its name tells no frame"
        more = f" (nor those of {len(nameless) - 1} others)" if len(nameless) > 1 else ""
        raise InputError(what + more, nameless[0], _FIX)
    return [(frame, GivenMask(path)) for path, frame in zip(paths, frames, strict=True) if frame is not None]


def _named_by_frame_and_object(
    folder: Path, paths: Sequence[Path], numbers: dict[str, int]
) -> list[tuple[int, GivenMask]]:
    """Such as 00000_1.png, or frame3_obj2.png; nothing where the names do not tell of both. Raises InputError where
    they may tell of either first."""
    matches = [match for path in paths if (match := re.fullmatch(_FRAME_AND_OBJECT, path.stem.lower()))]
    if len(matches) < len(paths):
        return []
    named = any(_own_frame(path.stem, numbers)[0] is not None for path in paths)
    plain = [match for match in matches if match[1].isdecimal() and match[0].removeprefix(match[1])[1:] == match[2]]
    said = len({match[1] for match in matches}) > 1 and all(re.fullmatch(_OBJECT, match[0]) for match in matches)
    if not named and not said:
        if len(plain) < len(paths) or any(len(match[1]) < len(match[2]) for match in plain):
            return []
        if any(len(match[1]) == len(match[2]) for match in plain):
            what = f"{paths[0].name} and the like may be of frame {plain[0][1]}, object {plain[0][2]}, or the reverse"
            raise InputError(what, folder, f"{_FIX}, in a folder for each object")
    ids = [int(match[2]) + any(int(match[2]) == 0 for match in matches) for match in matches]
    frames = [
        _own_frame(path.stem, numbers)[0] if named else _last_number(match[1])
        for path, match in zip(paths, matches, strict=True)
    ]
    if nameless := [path for path, frame in zip(paths, frames, strict=True) if frame is None]:
        raise InputError("no frame has its name", nameless[0], _FIX)
    return [(at, GivenMask(path, i)) for at, path, i in zip(frames, paths, ids, strict=True) if at is not None]


def _images(folder: Path, may_be_empty: bool = False) -> list[Path]:
    files = [path for path in folder.iterdir() if path.name[0] != "." and path.is_file()]
    found = [path for path in files if path.suffix.lower() in SUFFIXES]
    found = found or [path for path in files if path.suffix.lower() in LOSSY]
    if not (found or may_be_empty):
        raise InputError("no masks in this folder", folder, _FIX)
    return sorted(found, key=lambda path: natural(path.name))


def _last_number(stem: str) -> int | None:
    numbers = re.findall("[0-9]+", stem)
    return int(numbers[-1]) if numbers else None

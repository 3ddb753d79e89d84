"""Which mask files the user means for which frames."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stesa_cli.errors import InputError
from stesa_cli.files import exists, natural

SUFFIXES = {".png", ".tif", ".tiff", ".bmp", ".webp", ".gif"}
LOSSY = {".jpg", ".jpeg"}
"""Masks only in a folder without any of SUFFIXES; beside them they may be frames."""
_FIX = "name masks by their frame, such as 00012.png"
_OBJECT = r"(?:.*[^a-z])?(?:obj|object|inst|instance|id)[ _-]*([0-9]+)"  # object_2.png tells no frame
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


def masks_by_frame(options: Sequence[str], names: Sequence[str] = ()) -> tuple[dict[int, list[GivenMask]], list[str]]:
    """The masks of each frame, in the order given, and a line on each option that is wrong.

    A folder holds masks named by their frame; or one object a file, all of the first frame; or a folder for each
    object, with masks named by their frame. ``names`` are those of the frames of a folder: a mask of such a name
    belongs to that frame."""
    found: dict[int, list[GivenMask]] = {}
    problems: list[str] = []
    numbers = {name: index for index, name in enumerate(names)}
    for text in options:
        frame, path = parse_mask_option(text)
        try:
            if frame is None and "=" in path.name and not exists(path):
                raise InputError(
                    "has no number of a frame before its =", path, "write FRAME=PNG, such as 57=better.png"
                )
            if not path.is_dir():
                each = [(numbers.get(path.stem, 0) if frame is None else frame, GivenMask(path))]
            elif frame is not None:
                each = [(frame, GivenMask(mask)) for mask in _images(path)]
            else:
                each = _of_folder(path, numbers)
        except InputError as error:
            problems.append(str(error))
            continue
        for number, mask in each:
            found.setdefault(number, []).append(mask)
    return dict(sorted(found.items())), problems


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
    by_name = any(path.stem in numbers for path in paths)
    if not by_name:
        objects = [re.fullmatch(_OBJECT, path.stem.lower()) for path in paths]
        if all(objects):
            return [(0, GivenMask(path, int(match[1]))) for path, match in zip(paths, objects, strict=True) if match]
        if all(re.fullmatch(_TAGGED, p.stem) for p in paths) or not any(re.search("[0-9]", p.stem) for p in paths):
            return [(0, GivenMask(path)) for path in paths]
    frames = [numbers.get(path.stem) if by_name else _last_number(path.stem) for path in paths]
    if nameless := [path for path, frame in zip(paths, frames, strict=True) if frame is None]:
        what = "no frame has its name" if by_name else "its name tells no frame"
        more = f" (nor those of {len(nameless) - 1} others)" if len(nameless) > 1 else ""
        raise InputError(what + more, nameless[0], _FIX)
    return [(frame, GivenMask(path)) for path, frame in zip(paths, frames, strict=True) if frame is not None]


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

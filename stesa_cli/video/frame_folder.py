"""Frames that lie on the disk as pictures: a folder of them, or the pages of one file."""

import re
from collections import Counter
from collections.abc import Collection, Generator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from stesa_cli.errors import InputError, printable
from stesa_cli.files import called_mask, natural
from stesa_cli.video.pictures import Head, in_8_bits, look_at, read_pages, read_picture, read_values, scale_of
from stesa_cli.video.stream import Frame, VideoReader

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
PAGES = {".tif", ".tiff", ".webp"}
"""Of these, what may hold several."""
_NUMBER = r"[+-]?[0-9]+(\.[0-9]+)?"
SAMPLES = 8  # pictures from which the scale of 16 bits is taken
TOLD = 5  # problems

T = TypeVar("T")


class FolderReader(VideoReader):
    """The pictures of a folder whose names match ``pattern``, in natural order. What ``not_frames`` holds, and single
    pictures of another kind than the rest, are left out, and told of in ``notes``.
    Raises InputError with everything that is wrong with any of them."""

    def __init__(self, path: Path, rate: Fraction, pattern: str = "*", not_frames: Collection[Path] = ()) -> None:
        super().__init__()
        masks = {mask.resolve() for mask in not_frames}
        matching = [p for p in path.glob(pattern) if p.suffix.lower() in IMAGES and p.name[0] != "."]
        paths = [p for p in matching if p.resolve() not in masks]
        if not paths:
            what = "no images in this folder" + (f" match {pattern}" if pattern != "*" else "")
            raise InputError(what, path, "give a video file or a folder of JPEG or PNG frames")
        problems: list[InputError] = []
        heads: dict[Path, Head] = {}
        for each in in_order(paths):
            try:
                heads[each] = look_at(each)
            except InputError as error:
                problems.append(error)
        left_out = [p for p in matching if p.resolve() in masks] + _strangers(heads)
        for each in left_out:
            heads.pop(each, None)
        if left_out:
            self.notes.append(f"{_names(left_out)}: no frame of this video, so left out")
        problems += _doubled(path, heads) + _in_series(path, heads) + _of_other_sizes(heads)
        if problems:
            raise _together(problems)
        self._paths = list(heads)
        if len(heads) == 1 and heads[self._paths[0]].pages > 1 and self._paths[0].suffix.lower() in PAGES:
            raise InputError("holds several pages", self._paths[0], "give this file as the video")
        self.rate, self.frame_count, self.names = rate, len(self._paths), tuple(path.stem for path in self._paths)
        self.width, self.height = heads[self._paths[0]].size
        self.notes += _unlike_the_others(self._paths)
        if jump := _jump(self.names):
            self.notes.append(f"the numbers of the frames jump: after {jump[0]} comes {jump[1]}")
        self._scale = None
        if any(head.is_deep for head in heads.values()):
            self._scale, note = scale_of(read_values(each) for each in _sample(self._paths))
            self.notes += [note] if note else []

    def _length(self) -> str:
        return f"{self.frame_count} frames"

    def _frames(self) -> Generator[Frame]:
        yield from map(self.frame, range(len(self._paths)))

    def frame(self, index: int) -> Frame:
        """Any frame by its number."""
        return Frame(read_picture(self._paths[index], self._scale), index, float(index / self.rate))


class PagesReader(VideoReader):
    """The pages of one file, shown as long as it says, or at ``rate``. Raises InputError when one is broken, or of
    another size than the first."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        super().__init__()
        head = look_at(path)
        seconds = next(read_pages(path, [0]))[1] if head.pages > 1 else 0
        self._path, self.rate = path, Fraction(1 / seconds).limit_denominator(1000) if seconds else rate
        self.frame_count, (self.width, self.height) = head.pages, head.size
        self._scale = None
        if head.is_deep:
            self._scale, note = scale_of(values for values, _ in read_pages(path, _sample(range(head.pages))))
            self.notes += [note] if note else []

    def _length(self) -> str:
        return f"{self.frame_count} pages"

    def _frames(self) -> Generator[Frame]:
        time = 0.0
        for page, (values, seconds) in enumerate(read_pages(self._path, range(self.frame_count or 0))):
            image = in_8_bits(values, self._scale)
            if image.shape[:2] != (self.height, self.width):
                what = f"page {page + 1} is {image.shape[1]}×{image.shape[0]}, the first {self.width}×{self.height}"
                raise InputError(what, self._path, "give pages of one size")
            yield Frame(image, page, time)
            time += seconds or float(1 / self.rate)


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Frames in natural order, whatever the case of letters; names that are numbers by these, signs and all."""
    if all(re.fullmatch(_NUMBER, path.stem) for path in paths):
        return sorted(paths, key=lambda path: (Decimal(path.stem), path.name))
    return sorted(paths, key=lambda path: (natural(path.name.casefold()), path.name))


def _strangers(heads: dict[Path, Head]) -> list[Path]:
    """Pictures that are no frames by their looks: a mask beside a frame of the same name, or a lone index image; and
    those of another size or mode than all others that are not named as these are, either; or by their names, as
    00000_mask.png beside 00000.png."""
    named = {path for path in heads if called_mask(path.stem)}
    named = named if len(named) < len(heads) else set()
    frames = {path: head for path, head in heads.items() if path not in named and head.kind != "index"}
    frames = frames or {path: head for path, head in heads.items() if path not in named}
    if not frames:
        return []
    size, kind = Counter((head.size, head.kind) for head in frames.values()).most_common(1)[0][0]
    way = Counter(map(_way, frames)).most_common(1)[0][0]
    coloured = {path.stem for path, head in heads.items() if head.kind in ("colour", "clear")}

    def is_strange(path: Path, head: Head) -> bool:
        if path in named:
            return _way(path) != way
        if path not in frames and len(heads) - len(named) == len(frames) + 1:
            return True
        beside = head.kind in ("index", "grey") and path.stem in coloured
        return beside or ((head.size, head.kind) != (size, kind) and _way(path) != way)

    return [path for path, head in heads.items() if is_strange(path, head)]


def _way(path: Path) -> tuple[str, str]:
    """How a frame is named, but for its number."""
    return re.sub("[0-9]+", "0", path.stem.casefold()), path.suffix.lower().replace("jpeg", "jpg")


def _twice(heads: Collection[Path]) -> set[str]:
    return {stem for stem, count in Counter(path.stem for path in heads).items() if count > 1}


def _unlike_the_others(paths: Sequence[Path]) -> list[str]:
    ways = Counter(map(_way, paths))
    usual, most = ways.most_common(1)[0]
    others = [path for path in paths if _way(path) != usual]
    if not 0 < len(others) <= most / 5:
        return []
    return [f"{_names(others)}: named unlike the other frames, but taken for frames"]


def _doubled(folder: Path, heads: dict[Path, Head]) -> list[InputError]:
    twice = _twice(heads)
    if not twice:
        return []
    both = [path for path in heads if path.stem in twice]
    more = f", and for {len(twice) - 1} more" if len(twice) > 1 else ""
    what = f"two files for frame {both[0].stem} ({both[0].name}, {both[1].name}){more}"
    return [InputError(what, folder, f"remove one kind, or choose with --pattern '*{both[0].suffix}'")]


def _in_series(folder: Path, heads: Collection[Path]) -> list[InputError]:
    """Whether there are two series, with a picture of the same numbers in both, such as left_0.png and right_0.png."""
    series: dict[str, dict[str, Path]] = {}
    for path in heads:
        series.setdefault(_way(path)[0], {})["-".join(re.findall("[0-9]+", path.stem))] = path
    one, other = (*sorted(series.values(), key=lambda paths: -len(paths)), {}, {})[:2]
    both = [number for number in one if number and number in other]
    if len(both) < max(2, len(one) / 2) or all(re.fullmatch(_NUMBER, path.stem) for path in heads):
        return []
    first = one[both[0]]
    pattern = re.sub("[0-9]+", "*", first.stem) + "[0-9]" * first.stem[-1].isdigit() + first.suffix
    what = f"holds two series of frames ({first.name}, … and {other[both[0]].name}, …)"
    return [InputError(what, folder, f"move one of them elsewhere, or choose with --pattern '{pattern}'")]


def _of_other_sizes(heads: dict[Path, Head]) -> list[InputError]:
    if not heads:
        return []
    first = next(iter(heads.values())).size
    problems = []
    for path, head in heads.items():
        if head.size != first:
            sizes = "is {}x{}, but the first frame {}x{}".format(*head.size, *first)
            problems.append(InputError(sizes, path, "give all frames one size"))
        elif head.pages > 1 and path.suffix.lower() in PAGES and len(heads) > 1:
            problems.append(InputError(f"holds {head.pages} pages", path, "give such a file as a video of its own"))
    return problems


def _together(problems: Sequence[InputError]) -> InputError:
    if len(problems) == 1:
        return problems[0]
    more = [f"and {len(problems) - TOLD} more"] if len(problems) > TOLD else []
    fix = problems[0].fix if len({problem.fix for problem in problems}) == 1 else "mend all of these"
    return InputError("; ".join([f"{p.where}: {p.what}" for p in problems[:TOLD]] + more), fix=fix)


def _jump(names: Sequence[str]) -> tuple[str, str] | None:
    """The first two names between which numbers are left out that step evenly elsewhere."""
    if not all(re.fullmatch("[0-9]+", re.sub(r"^.*?([0-9]+)$", r"\1", name)) for name in names):
        return None
    numbers = [int(re.findall("[0-9]+", name)[-1]) for name in names]
    steps = [after - before for before, after in pairwise(numbers)]
    usual = Counter(steps).most_common(1)[0][0] if steps else 0
    return next(((names[i], names[i + 1]) for i, step in enumerate(steps) if step > usual > 0), None)


def _sample(items: Sequence[T]) -> list[T]:
    """A few of them, the first and the last, too."""
    places = np.unique(np.linspace(0, len(items) - 1, SAMPLES).round().astype(int))
    return [items[place] for place in places]


def _names(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - TOLD} more" if len(paths) > TOLD else ""
    return printable(", ".join(path.name for path in paths[:TOLD])) + more

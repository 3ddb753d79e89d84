"""A benchmark's split as it lies on disk, and the masks of a method for it. Needs no torch."""

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile
from zipfile import Path as ZipPath

import numpy as np

from stesa_cli.data import davis, youtube_vos
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import ConfigError, InputError
from stesa_cli.masks import read_mask

YEARS = {"davis": (2016, 2017), "youtube-vos": (2018, 2019)}
"""The data sets, and the years of each; the first is the default."""


@dataclass(frozen=True)
class Benchmark:
    """The sequences of a split, or some of them (then it is not ``complete``); ``seen`` as in DatasetScores."""

    dataset: str
    year: int
    split: str
    sequences: tuple[VideoSequence, ...]
    complete: bool = True
    seen: Mapping[str, Collection[int]] | None = None

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.year}-{self.split}"

    @property
    def frames(self) -> int:
        return sum(len(sequence.frames) for sequence in self.sequences)

    @cached_property
    def has_truth(self) -> bool:
        """False where only the masks that a method is given are public, as in test-dev."""
        return any(sequence.has_truth for sequence in self.sequences)


def open_benchmark(dataset: str, year: int | None, split: str, data_root: Path, only: Sequence[str] = ()) -> Benchmark:
    """Find a split, or those of its sequences that ``only`` names. The split ``valid`` of YouTube-VOS is ``val``, too.

    Raises ConfigError for an unknown data set or year, InputError for an unknown split or sequence, or missing data."""
    if dataset not in YEARS:
        raise ConfigError(f"no such data set {dataset!r}", fix=f"choose one of: {', '.join(YEARS)}")
    year = year or YEARS[dataset][0]
    if year not in YEARS[dataset]:
        raise ConfigError(f"{dataset} has no year {year}", fix=f"choose one of: {', '.join(map(str, YEARS[dataset]))}")
    seen = None
    if dataset == "davis":
        found = davis.sequences(data_root, year, split)
    else:
        split = "valid" if split == "val" else split
        found, seen = youtube_vos.sequences(data_root, split), youtube_vos.seen_objects(data_root, split)
    by_name = {sequence.name: sequence for sequence in found}
    if unknown := [name for name in only if name not in by_name]:
        what = f"{dataset} {year} {split} has no sequence {', '.join(unknown)}"
        raise InputError(what, data_root, f"choose among: {few(by_name, 30)}")
    chosen = tuple(by_name[name] for name in dict.fromkeys(only or by_name))
    return Benchmark(dataset, year, split, chosen, len(chosen) == len(found), seen)


@dataclass(frozen=True)
class Masks:
    """The masks of a method, ``<sequence>/<frame>.png``, in a folder or a zip; ``inside`` it, they may be wrapped."""

    path: Path
    inside: str = ""

    def open(self) -> Path | ZipPath:
        """The folder, or what acts as one, that holds those of the sequences. Raises InputError."""
        if not self.path.exists():
            raise InputError("no such folder or zip", self.path, "give the masks as <sequence>/<frame>.png")
        if self.path.is_dir():
            return self.path / self.inside
        try:
            return ZipPath(self.path, self.inside)
        except (BadZipFile, OSError) as error:
            raise InputError(f"cannot be read as a zip ({error})", self.path, "give a folder or a zip") from error


def find_masks(path: Path, sequences: Sequence[VideoSequence], all_frames: bool = False) -> Masks:
    """The masks of the annotated frames, or of all, in a folder or zip that may wrap them in one more folder.

    Raises InputError that names the missing ones."""
    masks = locate(Masks(path), sequences)
    if absent := missing(masks.open(), sequences, all_frames):
        raise InputError(f"masks are missing: {few(absent)}", path, "give one mask a frame, <sequence>/<frame>.png")
    return masks


def locate(masks: Masks, sequences: Sequence[VideoSequence]) -> Masks:
    """The same, looking below folders that do not hold a sequence but only one other folder. Raises InputError."""
    root = masks.open()
    if any((root / sequence.name).is_dir() for sequence in sequences):
        return masks
    inner = [entry.name for entry in root.iterdir() if entry.is_dir() and entry.name != "__MACOSX"]
    return locate(Masks(masks.path, f"{masks.inside}{inner[0]}/"), sequences) if len(inner) == 1 else masks


def missing(root: Path | ZipPath, sequences: Iterable[VideoSequence], all_frames: bool = False) -> list[str]:
    """Which masks are not there, of all frames or of the annotated ones: a line each, or one for a whole sequence."""
    lines: list[str] = []
    for sequence in sequences:
        wanted = [
            frame
            for frame, annotation in zip(sequence.frames, sequence.annotations, strict=True)
            if annotation or all_frames
        ]
        absent = [name for frame in wanted if not (root / (name := mask_name(sequence, frame))).is_file()]
        lines += [f"{sequence.name}/ (all {len(wanted)})"] if 1 < len(wanted) == len(absent) else absent
    return lines


def mask_name(sequence: VideoSequence, frame: Path) -> str:
    """Where the mask of a frame is, or goes, in a folder of masks."""
    return f"{sequence.name}/{frame.stem}.png"


def read_predicted(file: Path | ZipPath, size: tuple[int, ...]) -> np.ndarray:
    """A mask of a folder or zip as a label map of ``size`` (H, W) uint8. Raises InputError that names the file."""
    labels = read_mask(Path(str(file)), BytesIO(read_bytes(file)), series=True)
    if labels.shape != size:
        sizes = [f"{width}×{height}" for height, width in (labels.shape, size)]
        raise InputError(f"is {sizes[0]}, but the truth is {sizes[1]}", str(file), "save masks at source size")
    return labels


def read_bytes(file: Path | ZipPath) -> bytes:
    """A file of a folder or zip. Raises InputError that names it."""
    try:
        return file.read_bytes()
    except (OSError, BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: an encrypted zip
        raise InputError(f"cannot be read ({error})", str(file), "copy it again") from error


def few(lines: Collection[str], most: int = 5) -> str:
    """The first lines, and how many more there are."""
    shown = ", ".join(list(lines)[:most])
    return f"{shown} and {len(lines) - most} more" if len(lines) > most else shown

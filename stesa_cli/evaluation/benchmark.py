"""A benchmark's split as it lies on disk, and the masks of a method for it. Needs no torch."""

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile
from zipfile import Path as ZipPath

import numpy as np

from stesa_cli.data import davis, youtube_vos
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import ConfigError, InputError
from stesa_cli.evaluation.doubts import doubts
from stesa_cli.masks import object_ids, read_mask, read_mask_with_notes

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
    """The masks of a method, ``<sequence>/<frame>.png``, in a folder or a zip; ``inside`` it, they may be wrapped.
    ``notes`` are lines for the user."""

    path: Path
    inside: str = ""
    notes: tuple[str, ...] = ()

    def open(self) -> Path | ZipPath:
        """The folder, or what acts as one, that holds those of the sequences. Raises InputError."""
        if not self.path.exists():
            raise InputError("no such folder or zip", self.path, "give the masks as <sequence>/<frame>.png")
        if self.path.is_dir():
            return self.path / self.inside
        try:
            return ZipPath(_with_slashes(ZipFile(self.path)), self.inside)
        except (BadZipFile, OSError) as error:
            raise InputError(f"cannot be read as a zip ({error})", self.path, "give a folder or a zip") from error


def find_masks(path: Path, sequences: Sequence[VideoSequence], all_frames: bool = False, foreign: bool = True) -> Masks:
    """The masks of the frames that are scored, or of all, in a folder or zip that may wrap them in one more folder.
    Of ``foreign`` ones, which others saved, the notes tell what makes good masks score badly, too.

    Raises InputError that names the missing ones."""
    masks = locate(Masks(path), sequences)
    root = masks.open()
    if absent := missing(root, sequences, all_frames):
        kinds = _other_kinds(root, sequences)
        fix = f"only PNGs are masks, not the {kinds} there: save" if kinds else "give"
        raise InputError(f"masks are missing: {few(absent)}", path, f"{fix} one mask a frame, <sequence>/<frame>.png")
    return replace(masks, notes=() if all_frames else tuple(_notes(root, sequences, foreign)))


def locate(masks: Masks, sequences: Sequence[VideoSequence]) -> Masks:
    """The same, looking below folders that do not hold a sequence but only one other folder. Raises InputError."""
    root = masks.open()
    if any((root / sequence.name).is_dir() for sequence in sequences):
        return masks
    inner = [entry.name for entry in root.iterdir() if entry.is_dir() and entry.name != "__MACOSX"]
    return locate(Masks(masks.path, f"{masks.inside}{inner[0]}/"), sequences) if len(inner) == 1 else masks


def missing(root: Path | ZipPath, sequences: Iterable[VideoSequence], all_frames: bool = False) -> list[str]:
    """Which masks are not there, of all frames or of those that are scored: a line each, or one a sequence."""
    lines: list[str] = []
    for sequence in sequences:
        wanted = sequence.frames if all_frames else [sequence.frames[index] for index in _scored(sequence)]
        absent = [mask_name(sequence, frame) for frame in wanted if not mask_file(root, sequence, frame).is_file()]
        lines += [f"{sequence.name}/ (all {len(wanted)})"] if 1 < len(wanted) == len(absent) else absent
    return lines


def _other_kinds(root: Path | ZipPath, sequences: Iterable[VideoSequence]) -> str:
    """The suffixes of files that are named after frames, but are no PNGs."""
    found: set[str] = set()
    for sequence in sequences:
        folder, stems = root / sequence.name, {frame.stem for frame in sequence.frames}
        files = [Path(file.name) for file in folder.iterdir()] if folder.is_dir() else []
        found |= {file.suffix for file in files if file.stem in stems and file.suffix.lower() != ".png"}
    return ", ".join(sorted(found))


def mask_name(sequence: VideoSequence, frame: Path) -> str:
    """Where the mask of a frame is, or goes, in a folder of masks."""
    return f"{sequence.name}/{frame.stem}.png"


def mask_file(root: Path | ZipPath, sequence: VideoSequence, frame: Path) -> Path | ZipPath:
    """The mask of a frame in a folder or zip, whatever the case of its suffix; it may not be there."""
    file = root / mask_name(sequence, frame)
    other = root / f"{sequence.name}/{frame.stem}.PNG"
    return other if not file.is_file() and other.is_file() else file


def read_pair(root: Path | ZipPath, sequence: VideoSequence, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of an annotated frame, label maps (H, W) uint8 of one size: that of the truth, or of the
    frame, where the masks have that. A mask that is missing though never scored is taken for right.
    Raises InputError."""
    truth, file = sequence.truth(index), mask_file(root, sequence, sequence.frames[index])
    if index not in _scored(sequence) and not file.is_file():
        return truth, truth
    predicted = _read(file)
    if predicted.shape not in (truth.shape, sequence.size(index)):
        sizes = [f"{width}×{height}" for height, width in (predicted.shape, truth.shape)]
        raise InputError(f"is {sizes[0]}, but the truth is {sizes[1]}", str(file), "save masks at source size")
    return (truth if predicted.shape == truth.shape else sequence.labels(index)), predicted


def _read(file: Path | ZipPath) -> np.ndarray:
    return read_mask(Path(str(file)), BytesIO(read_bytes(file)), series=True)


def _scored(sequence: VideoSequence) -> list[int]:
    """The annotated frames that count: of DAVIS all but the first and the last, of YouTube-VOS any."""
    annotated = [index for index, path in enumerate(sequence.annotations) if path]
    return annotated if sequence.late else [i for i in annotated if 0 < i < len(sequence.frames) - 1]


def _notes(root: Path | ZipPath, sequences: Iterable[VideoSequence], foreign: bool) -> list[str]:
    """What a look at the first, the middle and the last mask of each sequence that are scored tells; where objects may
    enter late, at the first."""
    notes: dict[str, dict[str, str]] = {}  # of each note the sequences, and what more there is to say
    empty: list[bool] = []
    for sequence in sequences:
        scored = _scored(sequence)
        ends = {index for index, path in enumerate(sequence.annotations) if path} - set(scored)
        if any(not mask_file(root, sequence, sequence.frames[index]).is_file() for index in ends):
            notes.setdefault("the first or last mask is missing, which DAVIS does not score", {})[sequence.name] = ""
        known = next((object_ids(sequence.truth(i)) for i, path in enumerate(sequence.annotations) if path), [])
        for index in dict.fromkeys(scored[i] for i in ([0] if sequence.late else [0, len(scored) // 2, -1]) if scored):
            file = mask_file(root, sequence, sequence.frames[index])
            labels, said = read_mask_with_notes(Path(str(file)), BytesIO(read_bytes(file)), series=True)
            truth = sequence.truth(index)
            if truth.shape != sequence.size(index) and labels.shape != truth.shape:
                size = "{1}×{0}".format(*labels.shape)
                said.append(f"scored at the frames' size, {size}, to which the larger truth is reduced")
                truth = sequence.labels(index)
            for note in said:
                notes.setdefault(note, {}).setdefault(sequence.name, "")
            empty.append(bool(known) and not object_ids(labels))
            if foreign and labels.shape == truth.shape:
                for note, more in doubts(labels, truth, known, sequence.merged):
                    notes.setdefault(note, {}).setdefault(sequence.name, more)
    lines = ["the masks hold no object"] if foreign and empty and all(empty) else []
    for note, names in notes.items():
        name, more = next(iter(names.items()))
        lines.append(f"{few(names)}: {note}" + (f" ({name}: {more})" if more else ""))
    return lines


def _with_slashes(archive: ZipFile) -> ZipFile:
    """The same, with the names that Windows separated by backslashes separated by slashes."""
    for info in archive.infolist():
        info.filename = info.filename.replace("\\", "/")
    archive.NameToInfo = {info.filename: info for info in archive.infolist()}
    return archive


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

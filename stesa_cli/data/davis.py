"""The DAVIS layout: ``JPEGImages/480p``, ``Annotations/480p`` and ``ImageSets/<year>/<split>.txt``."""

from pathlib import Path

from stesa_cli.data.clip import VideoSequence
from stesa_cli.errors import InputError

FOLDERS = ("", "DAVIS", "davis{year}", "DAVIS/{year}")


def find_root(data_root: Path, year: int) -> Path:
    """The folder itself, or the one below it, that holds the sets of this year. Raises InputError."""
    for folder in FOLDERS:
        root = data_root / folder.format(year=year)
        if (root / "ImageSets" / str(year)).is_dir():
            return root
    raise InputError(
        f"no DAVIS-{year} here (ImageSets/{year}, JPEGImages/480p, Annotations/480p)",
        data_root,
        "give the folder that holds DAVIS with --data-root or STESA_DATA",
    )


def sequences(data_root: Path, year: int, split: str) -> list[VideoSequence]:
    """The sequences of a split, such as ``train`` or ``val``, in the order of its list.

    In the year 2016 every sequence has one object. Raises InputError for an unknown split or missing folders."""
    root = find_root(data_root, year)
    listing = root / "ImageSets" / str(year) / f"{split}.txt"
    if not listing.is_file():
        known = ", ".join(sorted(path.stem for path in listing.parent.glob("*.txt")))
        raise InputError(f"DAVIS-{year} has no split {split!r} here", listing.parent, f"choose one of: {known}")
    # DAVIS-2016 lists frames (/JPEGImages/480p/bear/00000.jpg …) in some copies, names in others
    names = dict.fromkeys(
        Path(line.split()[0]).parent.name or line.strip() for line in listing.read_text().splitlines() if line.strip()
    )
    return [_sequence(root, name, merged=year == 2016) for name in names]


def _sequence(root: Path, name: str, merged: bool) -> VideoSequence:
    folder = root / "JPEGImages" / "480p" / name
    frames = tuple(sorted(folder.glob("*.jpg")))
    if not frames:
        raise InputError("holds no JPEG frames", folder, "copy the sequence again, or take it out of the split's list")
    annotations = [root / "Annotations" / "480p" / name / f"{frame.stem}.png" for frame in frames]
    if not annotations[0].is_file():
        raise InputError("is missing, though it is the first frame's mask", annotations[0], "copy it again")
    return VideoSequence(name, frames, tuple(p if p.is_file() else None for p in annotations), merged)

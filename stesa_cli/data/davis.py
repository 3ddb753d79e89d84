"""The DAVIS layout: ``JPEGImages/480p``, ``Annotations/480p`` and ``ImageSets/<year>/<split>.txt``; other resolutions,
and annotations for unsupervised methods, where these are missing."""

import codecs
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from stesa_cli.data.sequence import VideoSequence, frames_in, masks_of
from stesa_cli.errors import InputError

RESOLUTIONS = ("480p", "Full-Resolution", "1080p", "")
NAMED = "[Dd][Aa][Vv][Ii][Ss]*"
DOWNLOADS = {
    (2016, "train"): "davis-2016",
    (2016, "val"): "davis-2016",
    (2017, "train"): "davis-2017",
    (2017, "val"): "davis-2017",
    (2017, "test-dev"): "davis-2017-test-dev",
}
"""What ``stesa data get`` calls the data that hold a split."""


def sequences(data_root: Path, year: int, split: str) -> list[VideoSequence]:
    """The sequences of a split, such as ``train`` or ``val``, in the order of its list.

    ``data_root`` is the folder itself, or one that holds it under a name such as ``DAVIS``, ``davis2017`` or
    ``DAVIS-2017-test-dev-480p/DAVIS``. In the year 2016 every sequence has one object.
    Raises InputError for an unknown split or missing folders."""
    listing = _listing(data_root, year, split)
    # DAVIS-2016 lists frames (/JPEGImages/480p/bear/00000.jpg …) in some copies, names in others
    raw = listing.read_bytes()
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # PowerShell's >
    text = raw.decode("utf-16" if wide else "utf-8-sig", errors="replace").replace("\\", "/")
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines()]
    names = dict.fromkeys(Path(line.split()[0]).parent.name or line for line in lines if line)
    if not names:
        raise InputError("lists no sequence", listing, "copy it again")
    return [_sequence(listing.parents[2], name, merged=year == 2016) for name in names]


def _listing(data_root: Path, year: int, split: str) -> Path:
    levels = (data_root.glob(f"{NAMED}{deeper}") for deeper in ("", "/*", "/*/*"))
    folders = [root / "ImageSets" / str(year) for root in chain([data_root], *map(sorted, levels))]
    for folder in folders:
        if (folder / f"{split}.txt").is_file():
            return folder / f"{split}.txt"
    download = f"; or run: stesa data get {DOWNLOADS[year, split]}" if (year, split) in DOWNLOADS else ""
    if known := sorted({path.stem for folder in folders for path in folder.glob("*.txt")}):
        fix = f"choose one of: {', '.join(known)}{download}"
        raise InputError(f"DAVIS-{year} has no split {split!r} here", data_root, fix)
    raise InputError(
        f"no DAVIS-{year} here (ImageSets/{year}, JPEGImages/480p, Annotations/480p)",
        data_root,
        f"give the folder that holds DAVIS with --data-root or STESA_DATA{download}",
    )


def _sequence(root: Path, name: str, merged: bool) -> VideoSequence:
    frames = frames_in(_folder(root, ["JPEGImages"], name))
    folder = _folder(root, ["Annotations", "Annotations_unsupervised"], name)
    annotations = masks_of(frames, folder)
    if annotations[0] is None:
        missing = folder / f"{frames[0].stem}.png"
        raise InputError("is missing, though it is the first frame's mask", missing, "copy it again")
    return VideoSequence(name, frames, annotations, merged)


def _folder(root: Path, kinds: Sequence[str], name: str) -> Path:
    """Where a sequence's files lie, or should."""
    folders = [root / kind / resolution / name for kind in kinds for resolution in RESOLUTIONS]
    return next((folder for folder in folders if folder.is_dir()), folders[0])

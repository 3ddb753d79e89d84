"""The YouTube-VOS layout: ``<split>/JPEGImages``, ``<split>/Annotations`` and ``<split>/meta.json``."""

import json
from pathlib import Path

from stesa_cli.data.clip import VideoSequence
from stesa_cli.errors import InputError


def find_root(data_root: Path, split: str) -> Path:
    """The folder of a split (``train``, ``valid``). Raises InputError."""
    for root in (data_root, data_root / "YouTubeVOS"):
        if (root / split / "meta.json").is_file():
            return root / split
    raise InputError(
        f"no YouTube-VOS here ({split}/meta.json, {split}/JPEGImages, {split}/Annotations)",
        data_root,
        "give the folder that holds YouTubeVOS with --data-root or STESA_DATA",
    )


def sequences(data_root: Path, split: str = "train") -> list[VideoSequence]:
    """The sequences that ``meta.json`` lists; annotated every fifth frame, objects may appear late. Raises InputError."""
    root = find_root(data_root, split)
    return [_sequence(root, name) for name in sorted(_videos(root))]


def categories(data_root: Path, split: str) -> dict[str, dict[int, str]]:
    """The category of every object id, by sequence."""
    return {
        name: {int(i): about["category"] for i, about in video["objects"].items()}
        for name, video in _videos(find_root(data_root, split)).items()
    }


def _videos(root: Path) -> dict[str, dict]:
    path = root / "meta.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["videos"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"is not a YouTube-VOS meta.json ({error!r})", path, "copy it again") from error


def _sequence(root: Path, name: str) -> VideoSequence:
    frames = tuple(sorted((root / "JPEGImages" / name).glob("*.jpg")))
    if not frames:
        raise InputError("holds no JPEG frames", root / "JPEGImages" / name, "copy the sequence again")
    masks = [root / "Annotations" / name / f"{frame.stem}.png" for frame in frames]
    return VideoSequence(name, frames, tuple(mask if mask.is_file() else None for mask in masks))

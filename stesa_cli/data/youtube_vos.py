"""The YouTube-VOS layout: ``<split>/JPEGImages``, ``<split>/Annotations`` and ``<split>/meta.json``."""

import json
from pathlib import Path

from stesa_cli.data.sequence import VideoSequence, frames_in, masks_of
from stesa_cli.errors import InputError


def find_root(data_root: Path, split: str) -> Path:
    """The folder of a split (``train``, ``valid``, ``test``). Raises InputError."""
    roots = (data_root, data_root / "YouTubeVOS")
    for root in roots:
        if (root / split / "meta.json").is_file():
            return root / split
    if known := sorted({path.parent.name for root in roots for path in root.glob("*/meta.json")}):
        raise InputError(f"YouTube-VOS has no split {split!r} here", data_root, f"choose one of: {', '.join(known)}")
    raise InputError(
        f"no YouTube-VOS here ({split}/meta.json, {split}/JPEGImages, {split}/Annotations)",
        data_root,
        "give the folder that holds YouTubeVOS with --data-root or STESA_DATA",
    )


def sequences(data_root: Path, split: str = "train") -> list[VideoSequence]:
    """The sequences that ``meta.json`` lists; annotated every fifth frame, objects may appear late. The split ``valid``
    has the first mask of each object only. Raises InputError."""
    root = find_root(data_root, split)
    return [_sequence(root, name) for name in sorted(_videos(root))]


def seen_objects(data_root: Path, split: str) -> dict[str, set[int]] | None:
    """The ids, by sequence, of the objects of a split whose category ``train`` holds; None where the meta.json of
    either does not tell categories."""
    try:
        objects = {s: {n: v["objects"] for n, v in _videos(find_root(data_root, s)).items()} for s in ("train", split)}
        known = {about["category"] for video in objects["train"].values() for about in video.values()}
        return {
            name: {int(i) for i, about in video.items() if about["category"] in known}
            for name, video in objects[split].items()
        }
    except (InputError, KeyError):
        return None


def _videos(root: Path) -> dict[str, dict]:
    path = root / "meta.json"
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))["videos"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"is not a YouTube-VOS meta.json ({error!r})", path, "copy it again") from error


def _sequence(root: Path, name: str) -> VideoSequence:
    frames = frames_in(root / "JPEGImages" / name)
    return VideoSequence(name, frames, masks_of(frames, root / "Annotations" / name), late=True)

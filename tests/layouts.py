"""Tiny data sets and predictions in the layouts of DAVIS and YouTube-VOS."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

from stesa_cli.masks import write_mask

HEIGHT, WIDTH = 48, 64


def squares(t: int, *ids: int) -> np.ndarray:
    """A label map (48, 64) uint8 with a square of 12 × 12 for each id, which moves 2 pixels a frame to the right."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for row, i in enumerate(ids):
        labels[2 + 15 * row : 14 + 15 * row, 2 + 2 * t : 14 + 2 * t] = i
    return labels


def davis(root: Path, year: int, split: str, sequences: dict[str, list[np.ndarray | None]]) -> Path:
    """Lay out a split whose sequences have these masks, None for frames without one."""
    for name, masks in sequences.items():
        _write(root / "JPEGImages/480p" / name, root / "Annotations/480p" / name, masks, step=1)
    listing = root / "ImageSets" / str(year) / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("\n".join(sequences) + "\n")
    return root


def youtube_vos(
    root: Path, split: str, sequences: dict[str, list[np.ndarray | None]], categories: dict[str, dict[int, str]]
) -> Path:
    """The same, in frames 0, 5, 10…, with the category of each object."""
    for name, masks in sequences.items():
        _write(root / split / "JPEGImages" / name, root / split / "Annotations" / name, masks, step=5)
    videos = {
        name: {"objects": {str(i): {"category": category} for i, category in categories[name].items()}}
        for name in sequences
    }
    (root / split / "meta.json").write_text(json.dumps({"videos": videos}))
    return root


def predictions(folder: Path, sequences: dict[str, list[np.ndarray]], step: int = 1) -> Path:
    """Masks of a method."""
    for name, masks in sequences.items():
        for t, labels in enumerate(masks):
            write_mask(folder / name / f"{step * t:05d}.png", labels)
    return folder


def zipped(path: Path, folder: Path, inside: str = "") -> Path:
    """A zip of what is in a folder, below ``inside``."""
    with ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"{inside}{file.relative_to(folder)}")
    return path


def _write(images: Path, annotations: Path, masks: list[np.ndarray | None], step: int) -> None:
    images.mkdir(parents=True)
    for t, labels in enumerate(masks):
        shape = (HEIGHT, WIDTH) if labels is None else labels.shape
        pixels = np.random.default_rng(t).integers(0, 99, (*shape, 3), np.uint8)
        if labels is not None:
            pixels[labels > 0] += 120
            write_mask(annotations / f"{step * t:05d}.png", labels)
        Image.fromarray(pixels).save(images / f"{step * t:05d}.jpg")

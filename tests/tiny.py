"""A tiny network, a tiny DAVIS with tiny stills, and the config that trains the one on the other in seconds."""

from pathlib import Path

import numpy as np
from PIL import Image

from stesa_cli.masks import write_mask

TINY = """
[model]
encoder = "test_efficientnet"
fold_batch_norm = true
skips = [8, 8, 8, 8]
hidden = [8, 8, 8, 8]
nlb = "res4"
auxiliary = true
aggregate = true
memory = { keys = 8, values = 8 }
flow = true

[train]
imagenet = false
held_out = ["c"]
validate_every = 3
checkpoint_every = 2
validation_clips = 2

[[stages]]
steps = 3
sources = { davis2016 = 1, stills = 1 }
clip = { length = 3, size = [64, 96], objects = 2, max_gap = 2, paste = 0.5 }
warmup = 2

[[stages]]
steps = 3
sources = { davis2016 = 1 }
clip = { length = 2, size = [64, 96], objects = 2, max_gap = 2, paste = 0.5, flaws = 0.5, sharpen = 0.5 }
bootstrap = 0.5
blend = 0.25
"""


def lay_out(root: Path) -> Path:
    """``davis2016`` with the sequences a, b and c of six frames, and ``stills`` with one photograph."""
    for number, name in enumerate("abc"):
        for t in range(6):
            _write(root / "davis2016", f"480p/{name}/{t:05d}", at=5 + 8 * t, seed=number)
    listing = root / "davis2016" / "ImageSets" / "2016" / "train.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("a\nb\nc\n")
    _write(root / "stills" / "set", "one", at=40, seed=9)
    return root


def _write(root: Path, name: str, at: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 120, (64, 96, 3), np.uint8)
    labels = np.zeros((64, 96), np.uint8)
    labels[10:40, at : at + 30] = 1
    pixels[labels == 1] += 100
    image = root / "JPEGImages" / f"{name}.jpg"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(image)
    write_mask(root / "Annotations" / f"{name}.png", labels)

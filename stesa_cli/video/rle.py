"""Masks as COCO run lengths, in one JSON file."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stesa_cli.errors import ConfigError, OutputError
from stesa_cli.files import atomic
from stesa_cli.video.background import background


def require_pycocotools() -> None:
    """Raise ConfigError when it is not installed: to be called before long work."""
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"run lengths need pycocotools ({error})", fix="pip install 'stesa-cli[rle]'") from error


@contextmanager
def rle_writer(path: Path) -> Iterator[Callable[[int, float, np.ndarray, Sequence[int]], None]]:
    """Write masks as COCO run lengths: the block is given ``write(index, time, labels, ids)``, to call with the number
    of each frame, its time in seconds, its label map (H, W) uint8, all of one size, and the ids of its objects.

    The file is one JSON object, ``{"size": [H, W], "frames": [{"index", "time", "objects": [{"id", "area", "bbox",
    "segmentation"}]}]}``, a line per frame: ``area`` in pixels, ``bbox`` as x, y, width, height, ``segmentation`` what
    ``pycocotools.mask.decode`` takes. Objects that a frame does not show are left out of it.
    It is written in the background, takes constant memory, and its name when the block ends well.
    Raises ConfigError without pycocotools, at once, OutputError when the disk refuses or no frame was given.
    """
    require_pycocotools()
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        empty = True

        def write_frame(index: int, time: float, labels: np.ndarray, ids: Sequence[int]) -> None:
            nonlocal empty
            file.write(f'{{"size": {json.dumps(labels.shape)}, "frames": [\n' if empty else ",\n")
            file.write(json.dumps({"index": index, "time": time, "objects": _run_lengths(labels, ids)}))
            empty = False

        with background(1) as submit:
            yield lambda *frame: submit(write_frame, *frame)
        if empty:
            raise OutputError("no frame was given to write", path, "give a video that has frames")
        file.write("\n]}\n")


def _run_lengths(labels: np.ndarray, ids: Sequence[int]) -> list[dict[str, object]]:
    from pycocotools import mask as coco

    objects: list[dict[str, object]] = []
    for i in ids:
        run_lengths = coco.encode(np.asfortranarray(labels == i, np.uint8))
        area, box = int(coco.area(run_lengths)), coco.toBbox(run_lengths)
        run_lengths["counts"] = run_lengths["counts"].decode("ascii")
        if area:
            objects.append({"id": i, "area": area, "bbox": [int(n) for n in box], "segmentation": run_lengths})
    return objects

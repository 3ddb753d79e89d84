"""Results to look at, frame by frame: videos with the times of their source, and PNG sequences of masks."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from stesa_cli.errors import ConfigError, InputError
from stesa_cli.files import atomic
from stesa_cli.masks import write_mask
from stesa_cli.video.background import background
from stesa_cli.video.encoding import encoder

_ALPHA = {
    ".mov": ("yuva444p10le", "-c:v prores_ks -profile:v 4444 -qscale:v 4"),
    ".webm": ("yuva420p", "-c:v libvpx-vp9 -crf 20 -b:v 0 -deadline realtime -cpu-used 8 -row-mt 1 -auto-alt-ref 0"),
}
"""Pixel format and coding of each container that can hold an alpha channel; the slow encoders are asked for speed."""


@contextmanager
def video_writer(
    path: Path, rate: Fraction, audio_from: Path | None = None, crf: int = 18, preset: str = "veryfast"
) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Write a video: the block is given ``write(image, time)``, to call with each frame (H, W, 3) uint8 RGB, all of one
    size, and its time in seconds, rising. Encoding runs in the background; leave an image alone once it is handed over.

    H.264 yuv420p, BT.709. An odd width or height grows by one pixel, its border repeated, as yuv420p has even sizes
    only. Times are kept to 1/90000 s or better, and exactly those of ``rate`` (frames per second) are kept exactly.
    Sound is copied from ``audio_from``, or made AAC where the container refuses it.
    The file takes its name when the block ends well. Raises OutputError when ffmpeg or the disk refuses.
    """
    coding = ["-c:v", "libx264", "-crf", str(crf), "-preset", preset, "-movflags", "+faststart"]
    with encoder(path, rate, "yuv420p", coding, audio_from) as encode, background(1) as submit:

        def write_even(image: np.ndarray, time: float) -> None:
            height, width = image.shape[:2]
            encode(np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"), time)

        yield lambda image, time: submit(write_even, image, time)


@contextmanager
def alpha_writer(path: Path, rate: Fraction) -> Iterator[Callable[[np.ndarray, np.ndarray, float], None]]:
    """Write a video whose frames are clear outside the objects: the block is given ``write(image, alpha, time)``, like
    that of ``video_writer``, with the ``alpha`` (H, W) uint8 of each frame, 0 clear to 255 opaque.

    The suffix chooses: ``.mov`` is ProRes 4444 for editors, times as in ``video_writer``; ``.webm`` is VP9 for the web,
    its times rounded to 1 ms. Odd sizes stay. Colours are straight, not multiplied by alpha, so whoever drops the alpha
    channel sees the whole frame. Raises ConfigError for another suffix, else as ``video_writer``.
    """
    if path.suffix.lower() not in _ALPHA:
        raise ConfigError("no alpha channel can be written in such a file", path, "name it .mov or .webm")
    pixels, coding = _ALPHA[path.suffix.lower()]
    with encoder(path, rate, pixels, coding.split()) as encode, background(1) as submit:
        yield lambda image, alpha, time: submit(lambda: encode(np.dstack([image, alpha]), time))


@contextmanager
def mask_writer(
    folder: Path, kinds: Collection[str] = ("masks", "objects"), binary: bool = False, workers: int = 2
) -> Iterator[Callable[[int, np.ndarray, Sequence[int]], None]]:
    """Write masks: the block is given ``write(index, labels, ids)``, to call with each label map (H, W) uint8 and the
    ids of its objects. Of ``kinds``, "masks" makes ``masks/00000.png`` of it, an index PNG, or, if ``binary``, a grey
    one of all objects together (0 or 255); "objects" makes ``objects/<id>/00000.png`` of each object (0 or 255).
    Files are written in the background. Raises OutputError when the disk refuses."""
    with background(workers) as submit:

        def write(index: int, labels: np.ndarray, ids: Sequence[int]) -> None:
            together = folder / "masks" / _name(index)
            if "masks" in kinds and binary:
                submit(_write_grey, together, np.isin(labels, ids) * np.uint8(255))
            elif "masks" in kinds:
                submit(write_mask, together, labels)
            for i in ids if "objects" in kinds else ():
                submit(_write_grey, folder / "objects" / str(i) / _name(index), (labels == i) * np.uint8(255))

        yield write


@contextmanager
def soft_writer(folder: Path, workers: int = 2) -> Iterator[Callable[[int, dict[int, np.ndarray]], None]]:
    """Write soft masks: the block is given ``write(index, soft)``, to call with the probability (H, W) uint8 of each
    object id, 0 to 255, which becomes ``soft/<id>/00000.png``, a grey PNG.
    Files are written in the background. Raises OutputError when the disk refuses."""
    with background(workers) as submit:

        def write(index: int, soft: dict[int, np.ndarray]) -> None:
            for i, probability in soft.items():
                submit(_write_grey, folder / "soft" / str(i) / _name(index), probability)

        yield write


def read_soft(folder: Path, index: int, ids: Sequence[int]) -> dict[int, np.ndarray]:
    """Soft masks of a frame as ``soft_writer`` was given them. Raises InputError when one is missing or broken."""
    soft = {}
    for i in ids:
        path = folder / "soft" / str(i) / _name(index)
        try:
            with Image.open(path) as image:
                soft[i] = np.array(image.convert("L"))
        except (OSError, SyntaxError) as error:
            raise InputError(f"cannot be read as a soft mask ({error})", path, "segment the video again") from error
    return soft


def _name(index: int) -> str:
    return f"{index:05d}.png"


def _write_grey(path: Path, image: np.ndarray) -> None:
    with atomic(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")

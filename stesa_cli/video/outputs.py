"""The formats in which results are saved. A new one is one function, which opens it, and one entry of FORMATS: the
command line's help, resuming and the report know it from there. As help must be instant, heavy packages are imported
where they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from stesa_cli.errors import InputError
from stesa_cli.files import atomic
from stesa_cli.video.background import background

if TYPE_CHECKING:
    import numpy as np

    from stesa_cli.video.overlay import OverlayStyle

WORKERS = 2  # threads that write the files of single frames


@dataclass(frozen=True, eq=False)
class FrameOutput:
    """What is saved of a frame. ``soft``: the probability of each object; empty where no format needs it."""

    name: str  # of its files, without suffix
    index: int
    time: float  # seconds
    image: np.ndarray  # (H, W, 3) uint8 RGB
    labels: np.ndarray  # (H, W) uint8
    ids: tuple[int, ...]
    soft: dict[int, np.ndarray] = field(default_factory=dict)  # by id: (H, W) uint8, 0 to 255


@dataclass(frozen=True)
class OutputOptions:
    """How it is saved: ``binary`` masks are 0 or 255, of all objects together; videos have the nominal ``rate``, in
    frames per second, pixels of the shape ``sample_aspect``, and the sound of ``audio_from``."""

    binary: bool = False
    style: OverlayStyle | None = None
    rate: Fraction = Fraction(24)
    sample_aspect: Fraction = Fraction(1)
    audio_from: Path | None = None


Write = Callable[[FrameOutput], None]
Open = Callable[[Path, OutputOptions], AbstractContextManager[Write]]


@dataclass(frozen=True)
class Format:
    """``open`` takes the path of the output, ``path`` in the folder of all results, and is a block that is given a way
    to write a frame. A format that is not ``whole`` is a folder with files of their own for each frame."""

    path: str
    open: Open
    whole: bool = False
    soft: bool = False
    require: Callable[[], None] = lambda: None
    """Raises ConfigError where something is missing that the format needs."""


@contextmanager
def open_outputs(folder: Path, kinds: Iterable[str], options: OutputOptions) -> Iterator[Write]:
    """A block that is given a way to write a frame in every format of ``kinds``. Files of single frames are on the disk
    when it ends; a whole one is there only if it ends well. Raises OutputError when the disk refuses."""
    with ExitStack() as stack:
        writers = [stack.enter_context(FORMATS[k].open(folder / FORMATS[k].path, options)) for k in kinds]

        def write(frame: FrameOutput) -> None:
            for each in writers:
                each(frame)

        yield write


def read_soft(folder: Path, name: str, ids: Sequence[int]) -> dict[int, np.ndarray]:
    """The soft masks of a frame in the folder ``soft``, as they were written. Raises InputError when one is missing or
    broken."""
    import numpy as np
    from PIL import Image

    soft = {}
    for i in ids:
        path = folder / str(i) / f"{name}.png"
        try:
            with Image.open(path) as image:
                soft[i] = np.array(image.convert("L"))
        except (OSError, SyntaxError) as error:
            raise InputError(f"cannot be read as a soft mask ({error})", path, "segment the video again") from error
    return soft


def _files(write: Callable[[Path, FrameOutput, OutputOptions], None]) -> Open:
    """A format of files of each frame, which ``write`` puts into a folder in the background."""

    @contextmanager
    def opened(folder: Path, options: OutputOptions) -> Iterator[Write]:
        with background(WORKERS) as submit:
            yield lambda frame: submit(write, folder, frame, options)

    return opened


def _write_masks(folder: Path, frame: FrameOutput, options: OutputOptions) -> None:
    import numpy as np

    from stesa_cli.masks import write_mask

    path = folder / f"{frame.name}.png"
    if options.binary:
        _write_grey(path, np.isin(frame.labels, frame.ids))
    else:
        write_mask(path, frame.labels)


def _write_objects(folder: Path, frame: FrameOutput, options: OutputOptions) -> None:
    for i in frame.ids:
        _write_grey(folder / str(i) / f"{frame.name}.png", frame.labels == i)


def _write_soft(folder: Path, frame: FrameOutput, options: OutputOptions) -> None:
    for i, each in frame.soft.items():
        _write_grey(folder / str(i) / f"{frame.name}.png", each)


@contextmanager
def _overlay(path: Path, options: OutputOptions) -> Iterator[Write]:
    from stesa_cli.video.overlay import DEFAULT_STYLE, overlay
    from stesa_cli.video.writing import video_writer

    style = options.style or DEFAULT_STYLE
    with video_writer(path, options.rate, options.audio_from, sample_aspect=options.sample_aspect) as write:
        yield lambda frame: write(overlay(frame.image, frame.labels, style), frame.time)


@contextmanager
def _cut_out(path: Path, options: OutputOptions) -> Iterator[Write]:
    import numpy as np

    from stesa_cli.video.writing import alpha_writer

    with alpha_writer(path, options.rate, options.sample_aspect) as write:

        def cut_out(frame: FrameOutput) -> None:
            alpha = np.zeros(frame.labels.shape, np.uint16)
            for soft in frame.soft.values():
                alpha += soft
            write(frame.image, alpha.clip(0, 255).astype(np.uint8), frame.time)

        yield cut_out


@contextmanager
def _run_lengths(path: Path, options: OutputOptions) -> Iterator[Write]:
    from stesa_cli.video.rle import rle_writer

    with rle_writer(path) as write:
        yield lambda frame: write(frame.index, frame.time, frame.labels, frame.ids)


def _need_pycocotools() -> None:
    from stesa_cli.video.rle import require_pycocotools

    require_pycocotools()


def _write_grey(path: Path, image: np.ndarray) -> None:
    """A grey PNG of (H, W) uint8, or of (H, W) bool as 0 and 255."""
    import cv2
    import numpy as np

    image = image * np.uint8(255) if image.dtype == bool else image
    coded = cv2.imencode(".png", image)[1]  # in a third of Pillow's time
    with atomic(path) as temporary:
        temporary.write_bytes(coded.data)


def _write_archive(folder: Path, frame: FrameOutput, options: OutputOptions) -> None:
    import numpy as np

    ids, labels = np.array(list(frame.soft), np.uint8), frame.labels
    probabilities = np.array(list(frame.soft.values()), np.uint8).reshape(-1, *labels.shape)
    with atomic(folder / f"{frame.name}.npz") as temporary:
        np.savez_compressed(temporary, labels=labels, ids=ids, probabilities=probabilities)


FORMATS = {
    "masks": Format("masks", _files(_write_masks)),
    "objects": Format("objects", _files(_write_objects)),
    "overlay": Format("overlay.mp4", _overlay, whole=True),
    "soft": Format("soft", _files(_write_soft), soft=True),
    "alpha": Format("alpha.mov", _cut_out, whole=True, soft=True),
    "webm": Format("alpha.webm", _cut_out, whole=True, soft=True),
    "rle": Format("rle.json", _run_lengths, whole=True, require=_need_pycocotools),
    "npz": Format("npz", _files(_write_archive), soft=True),
}

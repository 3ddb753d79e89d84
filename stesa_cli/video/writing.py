"""Results as files: H.264 videos with the times and the sound of their source, and PNG sequences of masks."""

import struct
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from stesa_cli.errors import OutputError
from stesa_cli.files import atomic
from stesa_cli.masks import write_mask
from stesa_cli.video import ffmpeg

WAITING = 8  # pictures handed over and not yet written


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
    ticks = rate.numerator * ceil(90_000 / rate.numerator)  # in a second
    with atomic(path) as temporary, tempfile.TemporaryFile() as log:
        sound = _sound(audio_from, temporary) if audio_from else []
        filters = "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd,format=yuv420p"
        coding = ["-c:v", "libx264", "-crf", str(crf), "-preset", preset, "-movflags", "+faststart"]
        colours = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
        times = ["-fps_mode", "passthrough", "-enc_time_base", f"1:{ticks}", "-video_track_timescale", str(ticks)]
        output = [*sound, "-vf", filters, *coding, *colours, *times, ffmpeg.url(temporary)]
        encoder = _Encoder(path, ticks, output, log)
        try:
            with _background(1) as submit:
                yield lambda image, time: submit(encoder.write, image, time)
            encoder.finish()
        finally:
            encoder.kill()


def _sound(source: Path, trial: Path) -> list[str]:
    """Options to add the sound of ``source``, copied if the container takes a second of it in the file ``trial``."""
    copy = ["-map", "0:a", "-c", "copy", "-t", "1", ffmpeg.url(trial)]
    none = subprocess.DEVNULL
    refused = ffmpeg.start(["-v", "quiet", "-y", "-i", ffmpeg.url(source), *copy], none, none, none).wait()
    return ["-i", ffmpeg.url(source), "-map", "0:v", "-map", "1:a?", "-c:a", "aac" if refused else "copy"]


@contextmanager
def mask_writer(folder: Path, workers: int = 2) -> Iterator[Callable[[int, np.ndarray, Sequence[int]], None]]:
    """Write masks: the block is given ``write(index, labels, ids)``, to call with each label map (H, W) uint8, which
    becomes ``masks/00000.png`` (an index PNG), and with the ids to write each as ``objects/<id>/00000.png`` (0 or 255).
    Files are written in the background. Raises OutputError when the disk refuses."""
    with _background(workers) as submit:

        def write(index: int, labels: np.ndarray, ids: Sequence[int]) -> None:
            name = f"{index:05d}.png"
            submit(write_mask, folder / "masks" / name, labels)
            for i in ids:
                submit(_write_object, folder / "objects" / str(i) / name, labels == i)

        yield write


def _write_object(path: Path, mask: np.ndarray) -> None:
    with atomic(path) as temporary:
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(temporary, format="PNG")


@contextmanager
def _background(workers: int) -> Iterator[Callable[..., None]]:
    """A way to have calls made in threads, in order, few of them waiting. The error of a call reaches a later caller,
    or the end of the block; when the block fails, the calls that wait are dropped."""
    pending: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers) as pool:

        def submit(call: Callable[..., None], *arguments: Any) -> None:
            if len(pending) == WAITING:
                pending.popleft().result()
            pending.append(pool.submit(call, *arguments))

        try:
            yield submit
            while pending:
                pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class _Encoder:
    """One ffmpeg, started by the first frame, whose size and time it must know.

    Frames go to it as raw RGB in an IVF stream, the simplest container that gives each frame its own time.
    """

    def __init__(self, path: Path, ticks: int, output: list[str], log: IO[bytes]) -> None:
        self._path, self._ticks, self._output, self._log = path, ticks, output, log
        self._last = -1
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, image: np.ndarray, time: float) -> None:
        height, width = image.shape[:2]
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        try:
            if self._process is None:
                self._start(image, time)
            self._last = max(self._last + 1, round(time * self._ticks))
            self._pipe.write(struct.pack("<IQ", image.nbytes, self._last))
            self._pipe.write(image.data)
        except BrokenPipeError as error:
            raise self._failure() from error

    def _start(self, image: np.ndarray, time: float) -> None:
        # ffmpeg counts times from the first of each input: -itsoffset puts the video back where the sound expects it
        stream = ["-itsoffset", str(time), "-f", "ivf", "-c:v", "rawvideo", "-i", "pipe:0"]
        arguments = ["-v", "error", "-y", *stream, *self._output]
        self._process = ffmpeg.start(arguments, subprocess.PIPE, subprocess.DEVNULL, self._log)
        assert self._process.stdin
        self._pipe = self._process.stdin
        size = image.shape[1::-1]
        self._pipe.write(struct.pack("<4sHH4sHHIIQ", b"DKIF", 0, 32, b"RGB\x18", *size, self._ticks, 1, 0))

    def finish(self) -> None:
        if self._process is None:
            raise OutputError("no frame was given to write", self._path, "give a video that has frames")
        try:
            self._pipe.close()
        except BrokenPipeError as error:
            raise self._failure() from error
        if self._process.wait():
            raise self._failure()

    def _failure(self) -> OutputError:
        assert self._process
        status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines() or [f"it ended with status {status}"]
        return OutputError(
            f"ffmpeg cannot write it ({lines[-1]})", self._path, "free some space or choose another folder"
        )

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            with suppress(BrokenPipeError), self._process:
                """Its pipe is closed, and it is waited for."""

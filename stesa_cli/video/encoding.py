"""Frames and their times into a video file, through one ffmpeg."""

import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import IO

import numpy as np

from stesa_cli.errors import OutputError
from stesa_cli.files import atomic
from stesa_cli.video import ffmpeg


@contextmanager
def encoder(
    path: Path,
    rate: Fraction,
    pixels: str,
    coding: list[str],
    audio_from: Path | None = None,
    sample_aspect: Fraction = Fraction(1),
) -> Iterator[Callable[[np.ndarray, float], None]]:
    """The block is given ``encode(image, time)``, to call with each frame (H, W, 3) RGB or (H, W, 4) RGBA uint8, all of
    one shape, and its time in seconds, rising.

    They become ``pixels`` (a format of ffmpeg, such as yuv420p), BT.709, and are written as ``coding`` says. Times are
    kept to 1/90000 s or better where the container can, and exactly those of ``rate`` (frames per second) exactly.
    ``sample_aspect`` is the width of a pixel by its height, as it is to be shown.
    Sound is copied from ``audio_from``, or made AAC where the container refuses it.
    The file takes its name when the block ends well. Raises OutputError when ffmpeg or the disk refuses.
    """
    ticks = rate.numerator * ceil(90_000 / rate.numerator)  # in a second
    with atomic(path) as temporary, tempfile.TemporaryFile() as log:
        sound = _sound(audio_from, temporary) if audio_from else []
        scale = "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd"
        told = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
        times = ["-fps_mode", "passthrough", "-enc_time_base", f"1:{ticks}", "-video_track_timescale", str(ticks)]
        shape = f"setsar={sample_aspect.numerator}/{sample_aspect.denominator}"
        output = [*sound, "-vf", f"{scale},format={pixels},{told},{shape}", *coding, *times, ffmpeg.url(temporary)]
        process = _Encoder(path, ticks, output, log)
        try:
            yield process.write
            process.finish()
        finally:
            process.kill()


def _sound(source: Path, trial: Path) -> list[str]:
    """Options to add the sound of ``source``, copied if the container takes a second of it in the file ``trial``."""
    copy = ["-map", "0:a", "-c", "copy", "-t", "1", ffmpeg.url(trial)]
    none = subprocess.DEVNULL
    refused = ffmpeg.start(["-v", "quiet", "-y", "-i", ffmpeg.url(source), *copy], none, none, none).wait()
    return ["-i", ffmpeg.url(source), "-map", "0:v", "-map", "1:a?", "-c:a", "aac" if refused else "copy"]


class _Encoder:
    """One ffmpeg, started by the first frame, whose size, channels and time it must know.

    Frames go to it as raw pictures in an IVF stream, the simplest container that gives each frame its own time.
    """

    def __init__(self, path: Path, ticks: int, output: list[str], log: IO[bytes]) -> None:
        self._path, self._ticks, self._output, self._log = path, ticks, output, log
        self._last = -1
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, image: np.ndarray, time: float) -> None:
        try:
            if self._process is None:
                self._start(image, time)
            self._last = max(self._last + 1, round(time * self._ticks))
            self._pipe.write(struct.pack("<IQ", image.nbytes, self._last))
            self._pipe.write(np.ascontiguousarray(image).data)
        except BrokenPipeError as error:
            raise self._failure() from error

    def _start(self, image: np.ndarray, time: float) -> None:
        # ffmpeg counts times from the first of each input: -itsoffset puts the video back where the sound expects it
        stream = ["-itsoffset", str(time), "-f", "ivf", "-c:v", "rawvideo", "-i", "pipe:0"]
        arguments = ["-v", "error", "-y", *stream, *self._output]
        self._process = ffmpeg.start(arguments, subprocess.PIPE, subprocess.DEVNULL, self._log)
        assert self._process.stdin
        self._pipe = self._process.stdin
        height, width, channels = image.shape
        tag = {3: b"RGB\x18", 4: b"RGBA"}[channels]
        self._pipe.write(struct.pack("<4sHH4sHHIIQ", b"DKIF", 0, 32, tag, width, height, self._ticks, 1, 0))

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

"""Video files."""

import re
import subprocess
from collections.abc import Generator
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.video import ffmpeg
from stesa_cli.video.stream import Frame, VideoReader


class OpenCVReader(VideoReader):
    """A video file that OpenCV decodes. It knows neither the exact rate nor where the first frame stands beside the
    sound, nor why a file ends: for these it asks ffmpeg."""

    def __init__(self, told: "FfmpegReader", capture: cv2.VideoCapture, first: np.ndarray) -> None:
        super().__init__()
        self._path, self._capture, self._first, self._start = told.path, capture, first, told.start
        self.width, self.height, self.rate, self.frame_count = told.width, told.height, told.rate, told.frame_count
        told.close()

    @classmethod
    def instead_of(cls, told: "FfmpegReader") -> Self | None:
        """None when OpenCV decodes no first frame (AV1 in its wheel), or another one than ffmpeg."""
        capture = cv2.VideoCapture(str(told.path.absolute()), cv2.CAP_FFMPEG)
        found, first = capture.read()
        if found and first.shape == (told.height, told.width, 3):
            return cls(told, capture, first)
        capture.release()
        return None

    def _frames(self) -> Generator[Frame]:
        image: np.ndarray | None = self._first
        index = 0
        begin = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        while image is not None:
            passed = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 - begin
            if index and not passed:  # a stream without times
                passed = float(index / self.rate)
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), index, self._start + passed)
            index += 1
            _, image = self._capture.read()
        if self._is_short(index) and ffmpeg.complains(self._path):
            self.truncated_at = index

    def close(self) -> None:
        super().close()
        self._capture.release()


class FfmpegReader(VideoReader):
    """Raw frames come through ffmpeg's standard output; its ``showinfo`` filter tells their size, exact rate and
    times in the log, always before the frame itself, so reading line and frame by turns cannot lock."""

    _LINE = re.compile(
        rb"\[Parsed_showinfo_0 .* pts: *(?P<pts>\S+) .* s:(?P<width>\d+)x(?P<height>\d+) "
        rb"|\[Parsed_showinfo_0 .* config in time_base: (?P<tick>\d+/\d+), frame_rate: (?P<rate>\d+/\d+)"
        rb"|  Duration: (?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+)"
        rb"|  Stream .* Video: .* (?P<fps>[\d.]+) fps"
        rb"|\[(?:error|fatal)\] (?P<error>.*)"
    )

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._closed = False
        self._said: dict[str, str] = {}  # the last value of everything ffmpeg's log has told so far
        output = [*ffmpeg.EACH_FRAME, "-vf", "showinfo=checksum=0", "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"]
        self._process = ffmpeg.start(
            ["-v", "level+info", "-i", ffmpeg.url(path), *output], subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE
        )
        assert isinstance(self._process.stdout, BufferedReader) and self._process.stderr
        self._images, self._log = self._process.stdout, self._process.stderr
        if not self._announced():
            self.close()
            reason = self._said.get("error", "it is empty")
            raise InputError(f"no frame can be decoded ({reason})", path, "give a video that plays")
        said = self._said
        self.width, self.height = int(said["width"]), int(said["height"])
        self.rate = _fraction(said["rate"]) or Fraction(25)
        length = int(said.get("hours", 0)) * 3600 + int(said.get("minutes", 0)) * 60 + float(said.get("seconds", 0))
        self.frame_count = round(length * float(said.get("fps", self.rate))) or None
        self.start = self._time(0)

    def _announced(self) -> bool:
        """Read the log up to the next frame; False at its end."""
        for line in self._log:
            if match := self._LINE.search(line):
                self._said |= {k: v.decode(errors="replace") for k, v in match.groupdict().items() if v is not None}
                if match["pts"]:
                    return True
        return False

    def _frames(self) -> Generator[Frame]:
        index = 0
        while True:
            image = np.empty((self.height, self.width, 3), np.uint8)
            time = self._time(index)
            if self._images.readinto(image.data) < image.nbytes:
                break
            yield Frame(image, index, time)
            index += 1
            if not self._announced():
                break
        if "error" in self._said and self._is_short(index) and not self._closed:
            self.truncated_at = index

    def _time(self, index: int) -> float:
        pts = self._said["pts"]
        return float(index / self.rate if pts.startswith("NOPTS") else int(pts) * _fraction(self._said["tick"]))

    def close(self) -> None:
        self._closed = True
        self._process.kill()  # so that a pending read ends at once
        super().close()
        with self._process:
            """Its pipes are closed, and it is waited for."""


def _fraction(text: str) -> Fraction:
    """ "30000/1001" as a number; 0 when it is unknown, such as "0/0" or "1/0"."""
    numerator, denominator = map(int, text.split("/"))
    return Fraction(numerator, denominator or 1) if denominator else Fraction(0)

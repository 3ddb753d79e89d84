"""One ffmpeg that decodes a video, and what its log says."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO

from stesa_cli.errors import InputError
from stesa_cli.video import ffmpeg

PACKETS = [(188, 188), (192, 188), (204, 204)]
"""Bytes of a transport stream's packet, in rising order, and from its mark, a G, to its end."""


@dataclass(frozen=True)
class Shown:
    """What ffmpeg's log says of a frame: its time in seconds, None for streams without, and width and height."""

    time: float | None
    size: tuple[int, int]


class Log:
    """One ffmpeg that decodes a file, and a thread that reads its log. ``frames`` gets what it says of each frame,
    then None; the other attributes hold the last value of everything else it has told so far."""

    _LINE = re.compile(
        rb"\[Parsed_showinfo_0 .* pts: *(?P<pts>\S+) .* sar:(?P<sar>\d+/\d+) s:(?P<size>\d+x\d+) "
        rb".* type:\S+ *(?P<more>.*)"
        rb"|config in time_base: (?P<tick>\d+/\d+), frame_rate: (?P<rate>\d+/\d+)"
        rb"|Input #0, (?P<container>[^ ]+), from"
        rb"|  Duration: (?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+)"
        rb"|  Stream #0:.*? Video: (?P<video>(?!.*\(attached pic\)).*)"
        rb"|  Stream #0:.* Audio: (?P<audio>.*)"
        rb"|(?:displaymatrix|Display Matrix): rotation of (?P<turn>-?[\d.]+)"
        rb"|\[(?:error|fatal)\] (?P<error>.*)"
    )
    _COLOURS = re.compile(r"[(,] ?(?:(?P<matrix>[\w-]+)/(?P<primaries>[\w-]+)/)(?P<transfer>[\w-]+)[,)]")

    def __init__(self, path: Path, filters: str = "", options: Sequence[str] = ()) -> None:
        self._path = path
        self.frames: Queue[Shown | None] = Queue()
        self._said: dict[str, str] = {}
        output = ["-vf", f"showinfo=checksum=0{filters}", "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"]
        self._process = ffmpeg.start(
            ["-v", "level+info", *options, "-i", ffmpeg.url(path), *ffmpeg.EACH_FRAME, *output],
            subprocess.DEVNULL,
            subprocess.PIPE,
            subprocess.PIPE,
        )
        assert isinstance(self._process.stdout, BufferedReader) and self._process.stderr
        self.images = self._process.stdout
        self._thread = Thread(target=self._read, args=(self._process.stderr,), daemon=True)
        self._thread.start()

    def _read(self, lines: IO[bytes]) -> None:
        try:
            for line in lines:
                if match := self._LINE.search(line):
                    self._take({k: v.decode(errors="replace") for k, v in match.groupdict().items() if v is not None})
        finally:
            self.frames.put(None)

    def _take(self, said: dict[str, str]) -> None:
        first = ("sar", "video")  # of the first frame; of the input, which comes before the output
        self._said |= {key: value for key, value in said.items() if value and not (key in first and key in self._said)}
        if "pts" in said:
            width, height = map(int, said["size"].split("x"))
            tick = _fraction(self._said.get("tick", "0/0"))
            told = None if said["pts"].startswith("NOPTS") or not tick else float(int(said["pts"]) * tick)
            self.frames.put(Shown(told, (width, height)))

    @property
    def rate(self) -> Fraction:
        return _fraction(self._said.get("rate", "0/0"))

    @property
    def sample_aspect(self) -> Fraction:
        return _fraction(self._said["sar"]) or Fraction(1)

    @property
    def rotation(self) -> int:
        return 90 * round(-self._turn / 90) % 360

    @property
    def odd_turn(self) -> float:
        """Degrees by which the metadata turn the pictures where these are no quarters, else 0."""
        return self._turn if abs(self._turn - 90 * round(self._turn / 90)) >= 1 else 0

    @property
    def _turn(self) -> float:
        return float(self._said.get("turn", 0))

    @property
    def ends_in_a_packet(self) -> bool:
        """Whether the last packet of a transport stream is cut, of which ffmpeg says nothing."""
        if self._said.get("container") != "mpegts":
            return False
        with self._path.open("rb") as file:
            file.seek(-min(2 * PACKETS[-1][0], self._path.stat().st_size), os.SEEK_END)
            end = file.read()
        return not any(end[-back::-length][:2] == b"GG" for length, back in PACKETS)

    @property
    def duration(self) -> float:
        """In seconds; 0 where none is declared."""
        said = self._said
        return int(said.get("hours", 0)) * 3600 + int(said.get("minutes", 0)) * 60 + float(said.get("seconds", 0))

    @property
    def fps(self) -> float:
        """Mean frames per second that the container declares, or 0."""
        match = re.search(r"([\d.]+) fps", self._said.get("video", ""))
        return float(match[1]) if match else 0.0

    @property
    def error(self) -> str:
        return self._said.get("error", "")

    @property
    def more(self) -> str:
        """What stood on the line of a frame, but is not of it."""
        return self._said.get("more", "").strip()

    def _colour(self, name: str) -> str:
        match = self._COLOURS.search(self._said.get("video", ""))
        return match[name].replace("unknown", "") if match else ""

    @property
    def transfer(self) -> str:
        return self._colour("transfer")

    @property
    def primaries(self) -> str:
        return self._colour("primaries")

    @property
    def matrix(self) -> str:
        return self._colour("matrix")

    def refusal(self) -> InputError:
        """What to raise when no frame came."""
        if "audio" in self._said and "video" not in self._said:
            return InputError("holds no video, only sound", self._path, "give a video that shows pictures")
        return InputError(
            f"no frame can be decoded ({self.error or 'it is empty'})", self._path, "give a video that plays"
        )

    def wait(self) -> None:
        """For the end of the log."""
        self._thread.join()

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self.kill()
        self.wait()
        with self._process:
            """Its pipes are closed, and it is waited for."""


def _fraction(text: str) -> Fraction:
    """ "30000/1001" as a number; 0 when it is unknown, such as "0/0" or "1/0"."""
    numerator, denominator = map(int, text.split("/"))
    return Fraction(numerator, denominator or 1) if denominator else Fraction(0)

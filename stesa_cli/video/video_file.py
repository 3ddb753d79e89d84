"""Video files, decoded by ffmpeg."""

import re
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO

import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.video import ffmpeg
from stesa_cli.video.stream import Frame, VideoReader

_RGB = "m=gbr:r=full,format=gbrp"
TO_SDR = {
    # HLG is made to be shown as it is where there is no HDR: only its colours are those of another triangle
    "arib-std-b67": ("HLG", f"zscale=p=bt709:t=arib-std-b67:{_RGB}"),
    # light up to 10,000 cd/m², of which 400 become a bright grey
    "smpte2084": (
        "PQ",
        "zscale=t=linear:npl=400,format=gbrpf32le,zscale=p=bt709,tonemap=reinhard:param=0.5:peak=25:desat=0,"
        f"zscale=t=bt709:{_RGB}",
    ),
}
"""Names of high dynamic ranges, and the filters that bring them to the standard one, by ffmpeg's transfer functions."""
CHANGES = 3  # of the size that are told of


@dataclass(frozen=True)
class _Shown:
    """What ffmpeg's log says of a frame: its time in seconds, None for streams without, and width and height."""

    time: float | None
    size: tuple[int, int]


class VideoFile(VideoReader):
    """Raw frames come through ffmpeg's standard output; its ``showinfo`` filter tells their size and times in the log,
    which a thread reads. A clock that starts again goes on by the frame's length; a size that changes is scaled to the
    first, and told of. Raises InputError when no frame can be decoded."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._closed = path, False
        self._start(_Log(path, ""))
        if self._log.transfer in TO_SDR:
            self.dynamic_range, filters = TO_SDR[self._log.transfer]
            space = f"colorspace={self._log.matrix or 'bt2020nc'}:color_primaries={self._log.primaries or 'bt2020'}"
            self._log.stop()
            self._start(_Log(path, f",setparams={space},{filters}"))
        self.width, self.height = self._first.size
        log = self._log
        self.rate, self.rotation, self.sample_aspect = log.rate or Fraction(25), log.rotation, log.sample_aspect
        self.frame_count = round(log.duration * float(log.fps or self.rate)) or None

    def _start(self, log: "_Log") -> None:
        first = log.frames.get()
        if first is None:
            log.stop()
            raise log.refusal()
        self._log, self._first = log, first

    def _frames(self) -> Generator[Frame]:
        index, size, clock = 0, self._first.size, _Clock(self.rate)
        shown: _Shown | None = self._first
        while shown is not None:
            image = np.empty((self.height, self.width, 3), np.uint8)
            if self._log.images.readinto(image.data) < image.nbytes:
                self._log.wait()  # for why
                break
            time = clock.time(shown.time, index)
            if shown.size != size:
                self._note_change(index, time, shown.size)
                size = shown.size
            yield Frame(image, index, time)
            index += 1
            shown = self._log.frames.get()
        if not index and not self._closed:  # ffmpeg saw a frame, but could not bring it to RGB
            raise self._log.refusal()
        if self._closed:
            return
        # what came in the middle of another line of the log has lost its mark
        met = self._log.error or ((self._log.more or self._is_short(index)) and ffmpeg.complains(self._path))
        if met and self._is_short(index):
            self.truncated_at = index
        elif met:
            self.notes.append("decoding met an error: some pictures may be damaged")

    def _note_change(self, index: int, time: float, size: tuple[int, int]) -> None:
        changes = sum("from frame" in note for note in self.notes)
        if changes < CHANGES:
            what = "{}×{}, scaled to {}×{}".format(*size, self.width, self.height)
            more = ", and changes on" if changes == CHANGES - 1 else ""
            self.notes.append(f"from frame {index} ({time:.2f} s) on the picture is {what}{more}")

    def close(self) -> None:
        self._closed = True
        self._log.kill()  # so that a pending read ends at once
        super().close()
        self._log.stop()


class _Clock:
    """Times that rise, of a stream whose clock may start again: it goes on by the length of a frame."""

    def __init__(self, rate: Fraction) -> None:
        self._rate, self._step = rate, float(1 / rate)
        self._last, self._ahead = float("-inf"), 0.0

    def time(self, told: float | None, index: int) -> float:
        time = float(index / self._rate) if told is None else told + self._ahead
        if time < self._last - self._step:
            self._ahead += self._last + self._step - time
            time = self._last + self._step
        self._last = max(self._last, time)  # what falls back by less is noise
        return self._last


class _Log:
    """One ffmpeg that decodes a file, and a thread that reads its log. ``frames`` gets what it says of each frame,
    then None; the other attributes hold the last value of everything else it has told so far."""

    _LINE = re.compile(
        rb"\[Parsed_showinfo_0 .* pts: *(?P<pts>\S+) .* sar:(?P<sar>\d+/\d+) s:(?P<size>\d+x\d+) "
        rb".* type:\S+ *(?P<more>.*)"
        rb"|\[Parsed_showinfo_0 .* config in time_base: (?P<tick>\d+/\d+), frame_rate: (?P<rate>\d+/\d+)"
        rb"|  Duration: (?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+)"
        rb"|  Stream #0:.*? Video: (?P<video>(?!.*\(attached pic\)).*)"
        rb"|  Stream #0:.* Audio: (?P<audio>.*)"
        rb"|(?:displaymatrix|Display Matrix): rotation of (?P<turn>-?[\d.]+)"
        rb"|\[(?:error|fatal)\] (?P<error>.*)"
    )
    _COLOURS = re.compile(r"[(,] ?(?:(?P<matrix>[\w-]+)/(?P<primaries>[\w-]+)/)(?P<transfer>[\w-]+)[,)]")

    def __init__(self, path: Path, filters: str) -> None:
        self._path = path
        self.frames: Queue[_Shown | None] = Queue()
        self._said: dict[str, str] = {}
        output = ["-vf", f"showinfo=checksum=0{filters}", "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"]
        self._process = ffmpeg.start(
            ["-v", "level+info", "-i", ffmpeg.url(path), *ffmpeg.EACH_FRAME, *output],
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
            told = None if said["pts"].startswith("NOPTS") else float(int(said["pts"]) * _fraction(self._said["tick"]))
            self.frames.put(_Shown(told, (width, height)))

    @property
    def rate(self) -> Fraction:
        return _fraction(self._said["rate"])

    @property
    def sample_aspect(self) -> Fraction:
        return _fraction(self._said["sar"]) or Fraction(1)

    @property
    def rotation(self) -> int:
        return round(-float(self._said.get("turn", 0))) % 360

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

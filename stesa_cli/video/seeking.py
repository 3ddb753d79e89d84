"""Any frame of a video by its number, exactly as the stream that ``open_video`` gives counts them."""

import subprocess
from collections import OrderedDict
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from threading import Lock, Thread

import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.video import ffmpeg
from stesa_cli.video.frame_folder import FolderReader
from stesa_cli.video.reading import FOLDER_RATE, Frame, VideoReader, open_video
from stesa_cli.video.video_file import VideoFile

CACHE = 128e6  # bytes of frames that are kept
BEFORE = 12  # frames decoded before the one asked for: who goes backwards asks for them next
NEAR = 48  # frames that are decoded on to one, rather than sought
TOLERANCE = 2e-6  # seconds: times are told in microseconds


class SeekableVideo:
    """Opens at once, however long the video: the times of a file's frames are read from its packets, in a thread,
    without decoding; a frame is sought by its time and recognised by it. Where a file's packets do not tell the times
    of its frames, frames are counted from the start. May be used from several threads. Raises as ``open_video``."""

    def __init__(
        self, path: Path, folder_rate: Fraction = FOLDER_RATE, pattern: str = "*", not_frames: Collection[Path] = ()
    ) -> None:
        self._path = path
        self.reader = open_video(path, folder_rate, pattern, not_frames)
        self._stream: Iterator[Frame] = iter(self.reader)
        self._open: VideoReader | None = self.reader
        self._next = 0
        self._cache: OrderedDict[int, Frame] = OrderedDict()
        self._lock = Lock()
        self._reopen = lambda: open_video(path, folder_rate, pattern, not_frames)
        self._take(next(self._stream))
        self._times: np.ndarray | None = None
        self._can_seek = isinstance(self.reader, VideoFile)
        self._indexing = Thread(target=self._index, daemon=True)
        self._indexing.start()

    @property
    def times(self) -> np.ndarray:
        """(frames,) float64: when each frame is shown, in seconds. Waits until they are known."""
        self._indexing.join()
        assert self._times is not None
        return self._times

    def __len__(self) -> int:
        return len(self.times)

    def frame(self, index: int) -> Frame:
        """The frame of a number from 0. Raises IndexError behind the last one, InputError for a broken one."""
        with self._lock:
            if index not in self._cache:
                if not 0 <= index < len(self):
                    raise IndexError(index)
                self._fetch(index)
            self._cache.move_to_end(index)
            return self._cache[index]

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._open:
            self._open.close()
        self._open = None

    def _index(self) -> None:
        """Learn all times: from the packets, if they agree with the first frame, else by decoding."""
        if not self._can_seek:
            self._times = np.arange(self.reader.frame_count or 0) / float(self.reader.rate)
            return
        times = _packet_times(self._path)
        if times is None or not len(times) or abs(times[0] - self._cache[0].time) > TOLERANCE:
            self._count()
        else:
            self._times = times

    def _count(self) -> None:
        """The packets tell nothing: learn the times from the frames, and go to each from the start."""
        self._can_seek = False
        with self._reopen() as reader:
            self._times = np.array([frame.time for frame in reader])

    def _fetch(self, index: int) -> None:
        if isinstance(self.reader, FolderReader):
            self._take(self.reader.frame(index))
            return
        if self._can_seek and not self._reached(index):
            self._count()
            self._next = len(self) + 1  # whatever the stream was to give
        if index not in self._cache and not self._reached(index):
            raise InputError(f"breaks off before frame {index}", self._path, "give a whole file")

    def _reached(self, index: int) -> bool:
        """Decode on to a frame, from wherever is best; False when something else comes in its place, or nothing."""
        if not self._next <= index <= self._next + NEAR:
            self._close()
            start = max(0, index - BEFORE) if self._can_seek else 0
            try:
                since = float(self.times[start - 1] + self.times[start]) / 2 if start else 0.0
                self._open = VideoFile(self._path, since) if start else self._reopen()
            except InputError:
                return False
            self._stream, self._next = iter(self._open), start
        for frame in self._stream:
            if self._can_seek and abs(frame.time - self.times[self._next]) > TOLERANCE:
                return False
            self._take(Frame(frame.image, self._next, frame.time))
            if self._next > index:
                return True
        return False

    def _take(self, frame: Frame) -> None:
        self._next = frame.index + 1
        self._cache[frame.index] = frame
        while len(self._cache) * frame.image.nbytes > CACHE and len(self._cache) > 1:
            self._cache.popitem(last=False)


def _packet_times(path: Path) -> np.ndarray | None:
    """The times of the packets of the video, in seconds, rising; None where they have none of their own."""
    arguments = ["-v", "error", *ffmpeg.SAME_TIMES, "-i", ffmpeg.url(path), "-map", "0:V:0", "-c", "copy"]
    process = ffmpeg.start(
        [*arguments, "-f", "framecrc", "pipe:1"], subprocess.DEVNULL, subprocess.PIPE, subprocess.DEVNULL
    )
    lines = process.communicate()[0].decode().splitlines()
    ticks = [line.removeprefix("#tb 0: ") for line in lines if line.startswith("#tb 0: ")]
    packets = [line.split(",") for line in lines if not line.startswith("#")]
    try:
        decoded, shown = (np.array([int(packet[column]) for packet in packets]) for column in (1, 2))
        if not len(shown) or (np.diff(decoded) <= 0).any() or len(np.unique(shown)) < len(shown):
            return None  # a clock that starts again, or none at all
        return np.sort(shown[shown >= 0]) * float(Fraction(ticks[0]))
    except (ValueError, IndexError):
        return None

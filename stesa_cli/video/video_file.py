"""Video files, decoded by ffmpeg."""

from collections.abc import Generator
from fractions import Fraction
from pathlib import Path

import numpy as np

from stesa_cli.video import ffmpeg
from stesa_cli.video.decoding import Log, Shown
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


class VideoFile(VideoReader):
    """Raw frames come through ffmpeg's standard output; its ``showinfo`` filter tells their size and times in the log,
    which a thread reads. A clock that starts again goes on by the frame's length; a size that changes is scaled to the
    first, and told of. With ``since``, in seconds, what is shown before is left out.
    Raises InputError when no frame can be decoded."""

    def __init__(self, path: Path, since: float = 0) -> None:
        super().__init__()
        self._path, self._closed = path, False
        options = [*ffmpeg.SAME_TIMES, "-ss", f"{since:.6f}"] if since else []
        self._start(Log(path, options=options))
        if self._log.odd_turn:
            options.append("-noautorotate")
            self.notes.append(f"is marked to be turned by {self._log.odd_turn:g}°, which is left undone")
            self._log.stop()
            self._start(Log(path, options=options))
        if self._log.transfer in TO_SDR:
            self.dynamic_range, filters = TO_SDR[self._log.transfer]
            space = f"colorspace={self._log.matrix or 'bt2020nc'}:color_primaries={self._log.primaries or 'bt2020'}"
            self._log.stop()
            self._start(Log(path, f",setparams={space},{filters}", options))
        self.width, self.height = self._first.size
        log = self._log
        self.rate, self.rotation, self.sample_aspect = log.rate or Fraction(25), log.rotation, log.sample_aspect
        self.frame_count = round(log.duration * float(log.fps or self.rate)) or None

    def _start(self, log: Log) -> None:
        first = log.frames.get()
        if first is None:
            log.stop()
            raise log.refusal()
        self._log, self._first = log, first

    def _frames(self) -> Generator[Frame]:
        index, size, clock = 0, self._first.size, _Clock(self.rate)
        shown: Shown | None = self._first
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
        short = self._is_short(index)
        met = self._log.error or ((self._log.more or short) and ffmpeg.complains(self._path))
        if self._log.ends_in_a_packet or (met and short and not clock.reaches(self._log.duration)):
            self.truncated_at = index
        elif met and short:
            self.notes.append(clock.on_lost((self.frame_count or 0) - index))
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
        self._left_out, self._place = 0, ""  # frames that there was time for, and the first place of such

    def time(self, told: float | None, index: int) -> float:
        time = float(index / self._rate) if told is None else told + self._ahead
        if time < self._last - self._step:
            self._ahead += self._last + self._step - time
            time = self._last + self._step
        missed = round((time - (self._last if index else -self._step)) / self._step) - 1
        if missed > 0:
            self._left_out += missed
            self._place = self._place or (
                f"after frame {index - 1} ({self._last:.2f} s)" if index else "before frame 0"
            )
        self._last = max(self._last, time)  # what falls back by less is noise
        return self._last

    def reaches(self, duration: float) -> bool:
        """Whether the last frame is at the end of a declared duration in seconds, sound and all."""
        return self._last + max(2 * self._step, 0.1) >= duration > 0

    def on_lost(self, frames: int) -> str:
        """A line on so many frames that were not decoded, though later ones were."""
        where = f" {self._place}" if frames == self._left_out else ""
        what = f"{frames} frame{'s' * (frames != 1)} could not be decoded{where}"
        return f"{what}: later frames keep their times, but are numbered as if there had been none"

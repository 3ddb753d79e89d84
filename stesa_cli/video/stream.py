"""What every source of frames is: a stream of upright RGB frames, in order, in constant memory."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np

from stesa_cli.video.background import ahead

AHEAD = 4  # frames decoded while the caller works on one


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video, rotated as its metadata ask."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    index: int  # from 0
    time: float  # seconds since the start of the file


class VideoReader(ABC):
    """A stream of frames, read once, from first to last; close it, or use it in a ``with`` block.

    Decoding runs ahead in a thread. Iterating raises InputError when a frame of a folder is broken.
    """

    width: int  # pixels, after rotation
    height: int
    rate: Fraction  # nominal frames per second: of a variable rate, trust only the times of the frames
    frame_count: int | None  # what the container declares: a hint, absent or wrong in many files
    truncated_at: int | None = None  # after the last frame: their number, if the file is broken before its end
    names: tuple[str, ...] = ()  # of the frames of a folder, without suffix
    sample_aspect: Fraction = Fraction(1)  # width by height of a pixel, as it is to be shown, upright
    rotation: int = 0  # degrees by which the metadata turn the pictures, clockwise
    dynamic_range: str = ""  # such as HLG, where it was more than the standard one

    def __init__(self) -> None:
        self._ahead = ahead(self._frames(), AHEAD)
        self.notes: list[str] = []  # for the user; some come only as frames are read

    def __iter__(self) -> Iterator[Frame]:
        return self._ahead

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._ahead.close()

    def describe(self) -> str:
        """What was understood of it, such as "1920×1080, 29.97 frames/s, rotated 90°, HLG → SDR, about 312 frames"."""
        aspect = self.sample_aspect
        parts = [
            f"{self.width}×{self.height}",
            f"{float(self.rate):.5g} frames/s",
            f"rotated {self.rotation}°" if self.rotation else "",
            f"pixels {aspect.numerator}:{aspect.denominator}" if aspect != 1 else "",
            f"{self.dynamic_range} → SDR" if self.dynamic_range else "",
            self._length(),
        ]
        return ", ".join(part for part in parts if part)

    def _length(self) -> str:
        return f"about {self.frame_count} frames" if self.frame_count else ""

    def _is_short(self, frames: int) -> bool:
        """Whether there might be more than these: files written live declare nothing."""
        return self.frame_count is None or frames < self.frame_count

    @abstractmethod
    def _frames(self) -> Generator[Frame]:
        """The frames, as the thread decodes them."""

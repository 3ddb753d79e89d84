"""How much work a video is worth: ``--quality``."""

from dataclasses import dataclass
from typing import Literal

from stesa_cli.inference.segmenter import DEFAULT_SIZE, View

Quality = Literal["fast", "default", "best"]


@dataclass(frozen=True)
class Effort:
    """``size``: short side at which the network sees the frames, in pixels; ``remembered``: frames in the memory (None:
    as the network's config says); ``flip``: whether it sees each frame mirrored, too; ``adapt``: how many seconds its
    adaptation to the given frame may take."""

    size: int = DEFAULT_SIZE
    remembered: int | None = None
    flip: bool = False
    adapt: float = 60.0

    def views(self, size: int | None = None) -> list[View]:
        """What the network sees of a frame, at another ``size`` where given."""
        return [View(size or self.size, flip) for flip in ((False, True) if self.flip else (False,))]


EFFORTS: dict[Quality, Effort] = {
    "fast": Effort(256, remembered=3, adapt=0),
    "default": Effort(),
    "best": Effort(remembered=12, flip=True),
}

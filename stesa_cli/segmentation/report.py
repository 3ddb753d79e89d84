"""What ``stesa segment`` says about what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stesa_cli import __version__
from stesa_cli.errors import printable
from stesa_cli.segmentation.prompts import Prompt, Prompts
from stesa_cli.video.reading import VideoReader

if TYPE_CHECKING:
    from stesa_cli.segmentation.job import SegmentJob

PHASES = "loading", "finetuning", "segmenting"
TOLD = 3  # gaps of an object that are told of one by one


@dataclass
class SegmentReport:
    """What ``report.json`` says. ``seen``: of each frame the area in pixels and the mean probability of each object."""

    job: SegmentJob
    reader: VideoReader
    model: dict[str, Any]
    prompts: Prompts
    boxes: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[int, dict[int, tuple[int, float]]] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    truncated: bool = False
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))

    @property
    def understood(self) -> str:
        """One line on what was understood of the video and of what is given."""
        return printable(f"{self.job.name}: {self.reader.describe()}; {self.prompts.describe()}")

    def take(self, prompt: Prompt) -> None:
        """Note what became of a prompt; a frame that is seen on the way back and forth has it once."""
        self.boxes += [box for box in prompt.boxes if box not in self.boxes]
        self.notes += [note for note in prompt.notes if note not in self.notes]

    @property
    def frames(self) -> int:
        return len(self.times)

    @property
    def ids(self) -> list[int]:
        return sorted({i for objects in self.seen.values() for i in objects})

    def given_at(self, i: int) -> int:
        """The first frame that has an object."""
        return min(t for t, objects in self.seen.items() if i in objects)

    def areas(self, i: int) -> list[int]:
        """Of an object, in pixels, one a frame."""
        return [self.seen[t].get(i, (0, 0.0))[0] for t in range(self.frames)]

    def confidence(self, i: int) -> list[float | None]:
        """Mean probability of an object's pixels, one a frame; None where there are none."""
        found = [self.seen[t].get(i, (0, 0.0)) for t in range(self.frames)]
        return [round(mean, 4) if area else None for area, mean in found]

    def lost(self, i: int) -> list[tuple[int, int]]:
        """From where on an object was not seen, and the frame where it was seen again, or the number of frames. Of a
        run both ways, this may begin at the start."""
        areas = np.array(self.areas(i))
        change = np.diff((areas > 0).astype(int))
        first = int((areas > 0).argmax())
        gone = [int(t) + 1 for t in (change < 0).nonzero()[0]]
        back = [int(t) + 1 for t in (change > 0).nonzero()[0] if t + 1 > first]
        if self.job.both_ways and first and i in self.seen.get(0, {}):
            gone, back = [0, *gone], [first, *back]
        return list(zip(gone, [*back, self.frames], strict=False))

    @property
    def warnings_so_far(self) -> list[str]:
        """Doubts about the video and what is given."""
        return [printable(note) for note in (*self.reader.notes, *self.prompts.notes, *self.notes)]

    @property
    def warnings(self) -> list[str]:
        """What the user should look at."""
        lines = self.warnings_so_far
        for i in self.ids:
            gaps = self.lost(i)
            for begin, end in gaps[:TOLD]:
                then = "is not seen again" if end == self.frames else f"returns at {self._moment(end)}"
                seen = f"is lost at {self._moment(begin)} and {then}"
                lines.append(f"object {i} {seen if begin else f'is not seen before {self._moment(end)}'}")
            if len(gaps) > TOLD:
                lines.append(f"object {i} is lost {len(gaps) - TOLD} times more: see report.json")
        if unused := [str(t) for t in self.prompts.frames if t >= self.frames]:
            what = f"the masks of the frames {', '.join(unused)} were not used"
            lines.append(f"{what}: the video has {self.frames} frames, counted from 0")
        if self.seen and not self.seen[0]:
            lines.append("the frames before the first mask are left empty: add --both-ways to segment them, too")
        if self.truncated:
            lines.append(
                f"{printable(str(self.job.video))} breaks off after {self.frames} frames: what it had is segmented"
            )
        return lines

    def _moment(self, index: int) -> str:
        return f"frame {index} ({self.times[index]:.2f} s)"

    @property
    def frames_per_second(self) -> float:
        """End to end, from the first decoded frame to the last closed file, without loading and finetuning."""
        return self.frames / self.seconds["segmenting"]

    def to_dict(self) -> dict[str, Any]:
        settings = self.job.to_dict()
        return {
            "version": __version__,
            "input": {
                "video": settings.pop("video"),
                "masks": settings.pop("masks"),
                "boxes": self.boxes,
                "understood": self.understood,
                "width": self.reader.width,
                "height": self.reader.height,
                "frames_per_second": str(self.reader.rate),
                "truncated": self.truncated,
            },
            "frames": self.frames,
            "objects": [
                {"id": i, "areas": self.areas(i), "confidence": self.confidence(i), "lost": self.lost(i)}
                for i in self.ids
            ],
            "warnings": self.warnings,
            "model": self.model,
            "settings": settings,
            "timings": {"frames_per_second": self.frames_per_second, "seconds": self.seconds},
        }

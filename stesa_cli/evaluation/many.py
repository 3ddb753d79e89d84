"""The sequences of a benchmark as tasks of workers."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from stesa_cli.checkpoint import digest
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.distribution.parcels import below
from stesa_cli.evaluation.predictions import write_sequence
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.runtime import resolved


@dataclass(frozen=True)
class Method:
    """What a worker holds: the Segmenter of these weights."""

    weights: str
    config: InferenceConfig
    device: str

    @cached_property
    def segmenter(self) -> Segmenter:
        return Segmenter.load(self.weights, self.config, self.device)

    def agreed(self) -> dict[str, Any]:
        return {"weights": digest(self.weights)}

    def settled(self) -> dict[str, Any]:
        return {"precision": resolved(self.segmenter.device, self.config.precision)}


@dataclass(frozen=True)
class SequenceTask:
    """Writes the masks of a sequence into its folder in that of all ``masks`` (see ``distribution.worker.Task``)."""

    sequence: VideoSequence
    masks: Path

    @property
    def name(self) -> str:
        return self.sequence.name

    @property
    def frames(self) -> int:
        return len(self.sequence.frames)

    @property
    def size(self) -> float:
        height, width = self.sequence.size(0)
        return self.frames * height * width

    @property
    def inputs(self) -> tuple[Path, ...]:
        return (*self.sequence.frames, *(path for path in self.sequence.annotations if path))

    @property
    def output(self) -> Path:
        return self.masks / self.name

    def moved(self, root: Path) -> "SequenceTask":
        sequence, away = self.sequence, partial(below, root)
        annotations = tuple(path and away(path) for path in sequence.annotations)
        moved = replace(sequence, frames=tuple(map(away, sequence.frames)), annotations=annotations)
        return SequenceTask(moved, away(self.masks))

    def make_room(self) -> None:
        shutil.rmtree(self.output, ignore_errors=True)

    def run(self, model: Method, again: bool, on_frame: Callable[[int], None], stopped: Callable[[], bool]) -> None:
        for done in write_sequence(model.segmenter, self.sequence, self.masks):
            on_frame(done)
            if stopped():
                raise InterruptedError

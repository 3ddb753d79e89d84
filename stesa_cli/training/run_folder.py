"""The folder of a training run: its config, starts, metrics, weights and figures."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import ConfigError, OutputError
from stesa_cli.files import write_text
from stesa_cli.training.config import RunConfig
from stesa_cli.training.plots import read_metrics

PACKAGES = ("stesa-cli", "torch", "torchvision", "timm", "accelerate", "numpy", "opencv-python")


@dataclass(frozen=True)
class Validation:
    """On the held-out sequences: mean ``J``, whether it is the ``best`` of the run so far, and the mean ``loss`` of a
    fixed set of clips."""

    J: float
    loss: float
    best: bool


@dataclass(frozen=True)
class Report:
    """One training step, or what comes before the first: ``losses`` by name and their ``total``; the ``seconds`` it
    took, and how many of these it was ``waiting`` for data; the number of ``images`` in it; its validation, if there
    was one; and an error message for each ``unreadable`` file that no earlier report named."""

    step: int
    steps: int
    losses: dict[str, float]
    seconds: float
    waiting: float
    images: int
    validation: Validation | None = None
    unreadable: tuple[str, ...] = ()


class RunFolder:
    """``config.json``; ``starts.json``, versions, data and machine of every start; ``metrics.jsonl``, a line a step;
    events for TensorBoard; ``last.safetensors``, everything needed to go on; ``best.safetensors``, the averaged weights
    with the highest held-out J; ``curves/``, written at the end. Once it is open, ``about`` is what a checkpoint tells
    of the run: seed, machine, versions, data and the hours of all its steps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last, self.best = path / "last.safetensors", path / "best.safetensors"
        self.metrics = path / "metrics.jsonl"

    def open(self, config: RunConfig, step: int, data: dict[str, Any], machine: dict[str, Any]) -> None:
        """Begin, or go on after ``step``: drop what a killed run recorded after its last checkpoint, since those steps
        are taken again. Raises ConfigError when the data are not those that the run began with."""
        from torch.utils.tensorboard import SummaryWriter

        starts = self.path / "starts.json"
        before = json.loads(starts.read_text()) if step and starts.is_file() else []
        if before and before[-1]["data"] != data:
            raise ConfigError("was trained on other data", self.path, "restore them, or choose another --run folder")
        versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
        start = {"step": step, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        self._made = {"seed": config.train.seed, **machine, "versions": versions, "data": data}
        write_text(starts, json.dumps([*before, start | self._made], indent=1))
        write_text(self.path / "config.json", config.model_dump_json(indent=1))
        kept = [line for line in read_metrics(self.metrics) if line["step"] <= step] if self.metrics.is_file() else []
        write_text(self.metrics, "".join(f"{json.dumps(line)}\n" for line in kept))
        self._seconds = sum(line["seconds"] for line in kept)
        self.board = SummaryWriter(str(self.path), purge_step=step + 1)

    def record(self, report: Report) -> None:
        line = {"step": report.step, **report.losses}
        line |= {"seconds": report.seconds, "waiting": report.waiting, "images": report.images}
        if report.validation:
            line |= {"validation_J": report.validation.J, "validation_loss": report.validation.loss}
        try:
            with self.metrics.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            fix = "free some space: the same command goes on from the last checkpoint"
            raise OutputError(f"cannot be written ({error.strerror})", self.metrics, fix) from error
        self._seconds += report.seconds
        scalars = {f"loss/{name}": value for name, value in report.losses.items()}
        scalars |= {"speed/images_per_second": report.images / report.seconds}
        scalars |= {"speed/share_waiting_for_data": report.waiting / report.seconds}
        if report.validation:
            scalars |= {"held_out/J": report.validation.J, "held_out/loss": report.validation.loss}
        for name, value in scalars.items():
            self.board.add_scalar(name, value, report.step)

    @property
    def about(self) -> dict[str, Any]:
        return {**self._made, "hours": round(self._seconds / 3600, 3)}

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        """Give TensorBoard a picture (H, W, 3) uint8 RGB."""
        self.board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        self.board.close()


def listing(sources: Mapping[str, list[VideoSequence]]) -> dict[str, Any]:
    """How much there is of each source, and a hash of the names of all its frames and masks."""
    found = {}
    for source, sequences in sources.items():
        names = [
            f"{s.name}/{frame.name}/{mask is not None}"
            for s in sequences
            for frame, mask in zip(s.frames, s.annotations, strict=True)
        ]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        found[source] = {"sequences": len(sequences), "frames": len(names), "sha256": digest}
    return found

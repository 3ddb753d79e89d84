"""A dry run: one step of every stage, the memory it takes, and a picture of its batch."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from stesa_cli.errors import ConfigError
from stesa_cli.files import atomic
from stesa_cli.training.preview import draw_batch
from stesa_cli.training.trainer import Trainer


@dataclass(frozen=True)
class DryRun:
    """The first step of a stage: its losses, the peak of memory so far in bytes, the picture of its batch, and an error
    message for each file that could not be read."""

    losses: dict[str, float]
    memory: int
    picture: Path
    unreadable: tuple[str, ...]


def dry_run(trainer: Trainer) -> Iterator[DryRun]:
    """Take the first step of every stage, with a trainer that is not used any more afterwards. Only the pictures
    ``batch-<stage>.png`` are written into the run folder. Raises ConfigError if there is too little memory."""
    step = 0
    for number, stage in enumerate(trainer.config.stages, 1):
        batch, _, _ = next(trainer.batches(step))
        path = trainer.folder.path / f"batch-{number}.png"
        with atomic(path) as temporary:
            Image.fromarray(draw_batch(batch)).save(temporary)
        try:
            losses = trainer.train_step(step, batch)
        except torch.OutOfMemoryError as error:
            fix = "lower batch, clip.length or clip.size"
            raise ConfigError(f"stage {number} does not fit into the memory of the device", "stages", fix) from error
        yield DryRun(losses, _peak_memory(trainer.accelerator.device), path, batch.unreadable)
        step += stage.steps


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

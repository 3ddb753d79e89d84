"""From a recipe's clips to batches on the device, prepared ahead by worker processes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import torch
from torch.utils.data import DataLoader

from stesa_cli.data.clip import ClipBatch, collate
from stesa_cli.data.sampling import ClipDataset
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import InputError, StesaError
from stesa_cli.training.config import RunConfig


@dataclass(frozen=True)
class Share:
    """What this process takes of every batch."""

    process: int
    processes: int
    device: torch.device


def load_batches(
    config: RunConfig, sources: dict[str, list[VideoSequence]], step: int, share: Share, workers: int
) -> Iterator[tuple[list[ClipBatch], float, float]]:
    """A process's share of the clips from a step to the end of its stage: the parts of a batch, the seconds waited for
    them, and when the waiting began. Raises InputError for a file that cannot be read."""
    stage, begun, clips = config.at(step)
    size = stage.batch // share.processes
    weighted = [(weight, sources[name]) for name, weight in stage.sources.items()]
    dataset = ClipDataset(weighted, stage.clip, config.train.seed, clips + stage.steps * stage.batch, clips)
    firsts = range(clips + begun * stage.batch + share.process * size, len(dataset), stage.batch)
    parts = iter(
        DataLoader(
            dataset,
            batch_size=size // stage.accumulate,
            sampler=[first + i for first in firsts for i in range(size)],
            collate_fn=collate,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=share.device.type == "cuda",
            worker_init_fn=_single_threaded,
        )
    )
    for _ in range(begun, stage.steps):
        started = time.perf_counter()
        try:
            batches = [next(parts) for _ in range(stage.accumulate)]
        except StesaError as error:  # of a worker: its whole traceback in one message
            raise InputError(error.what.strip().splitlines()[-1].partition("Error: ")[2] or str(error)) from error
        waiting = time.perf_counter() - started
        yield [batch.to(share.device) for batch in batches], waiting, started


def _single_threaded(_: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)

"""From clips to batches on the device, prepared ahead by worker processes."""

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
    """This process's part of every batch."""

    process: int
    processes: int
    device: torch.device


def load_batches(
    config: RunConfig, sources: dict[str, list[VideoSequence]], step: int, share: Share, workers: int
) -> Iterator[tuple[ClipBatch, float, float]]:
    """A process's share of the clips from a step to the end of its stage. Yields for each step the batch, the seconds
    waited for it, and when the waiting began. Raises InputError if no clip can be made of the data."""
    stage, begun, clips = config.at(step)
    size = stage.batch // share.processes
    weighted = [(weight, sources[name]) for name, weight in stage.sources.items()]
    dataset = ClipDataset(weighted, stage.clip, config.train.seed, clips + stage.steps * stage.batch)
    firsts = range(clips + begun * stage.batch + share.process * size, len(dataset), stage.batch)
    batches = iter(
        DataLoader(
            dataset,
            batch_size=size,
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
            batch = next(batches)
        except StesaError as error:  # of a worker: its whole traceback in one message
            raise InputError(error.what.strip().splitlines()[-1].partition("Error: ")[2] or str(error)) from error
        waiting = time.perf_counter() - started
        yield batch.to(share.device), waiting, started


def _single_threaded(_: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)

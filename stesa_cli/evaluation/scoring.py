"""Masks -> scores, in as many processes as wanted. Needs no torch, and neither do its processes."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

import cv2
import numpy as np

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import InputError
from stesa_cli.evaluation.benchmark import Benchmark, Masks, few, mask_name, read_pair
from stesa_cli.metrics.summary import DatasetScores, Protocol, SequenceScores, score_sequence

Result = TypeVar("Result")


def score(
    benchmark: Benchmark,
    masks: Masks,
    jobs: int = 1,
    on_sequence: Callable[[VideoSequence], None] = lambda sequence: None,
) -> DatasetScores:
    """J and F of every sequence; ``on_sequence`` hears of each that is done.

    Raises InputError that names the file for a mask that is broken, of a wrong size or in other colours, and for truth
    with gaps."""
    gaps = [
        mask_name(sequence, frame)
        for sequence in benchmark.sequences
        for frame, annotation in zip(sequence.frames, sequence.annotations, strict=True)
        if annotation is None and not sequence.late
    ]
    if gaps:
        raise InputError(f"true annotations are missing: {few(gaps)}", benchmark.name, "copy the data again")
    scores: dict[str, SequenceScores] = {}
    for sequence, result in each(partial(score_one, masks), benchmark.sequences, jobs):
        scores[sequence.name] = result
        on_sequence(sequence)
    return DatasetScores(benchmark.dataset, benchmark.year, benchmark.split, scores, benchmark.seen)


def score_one(masks: Masks, sequence: VideoSequence) -> SequenceScores:
    """J and F of one sequence."""
    return score_sequence(sequence.name, _pairs(masks, sequence), Protocol(sequence.merged, sequence.late))


def _pairs(masks: Masks, sequence: VideoSequence) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    root = masks.open()
    for index, annotation in enumerate(sequence.annotations):
        if annotation:
            yield read_pair(root, sequence, index)


def each(
    work: Callable[[VideoSequence], Result], sequences: Sequence[VideoSequence], jobs: int
) -> Iterator[tuple[VideoSequence, Result]]:
    """Every sequence, in order, with the result of ``work``, which new processes do where ``jobs`` is above 1."""
    if min(jobs, len(sequences)) <= 1:
        yield from ((sequence, work(sequence)) for sequence in sequences)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads can hang
    with ProcessPoolExecutor(min(jobs, len(sequences)), spawn, _prepare) as pool:
        yield from zip(sequences, pool.map(work, sequences), strict=True)


def _prepare() -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer

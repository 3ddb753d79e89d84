"""The held-out sequences as one number, while training."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import InputError
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.inference.sequence import segment_sequence
from stesa_cli.masks import object_ids
from stesa_cli.metrics.region import region_similarity
from stesa_cli.model.network import Network

SIZE = 256
FRAMES = 100


def can_validate(sequence: VideoSequence) -> bool:
    """Whether its first mask has objects, and a later one the truth to score them by."""
    return bool(sequence.annotations[0] and any(sequence.annotations[1:FRAMES]) and object_ids(sequence.labels(0)))


def mean_region_similarity(network: Network, sequences: list[VideoSequence]) -> tuple[float, list[str]]:
    """Mean J over objects of the first FRAMES frames of each sequence, at network size SIZE, without finetuning, every
    data set one part of the mean, however many sequences it has; and what is wrong with the sequences that cannot be
    read. Raises InputError when none can."""
    training = network.training
    config = InferenceConfig(size=SIZE, finetune=False)
    segmenter = Segmenter(network, config, device=str(network.device))
    means: dict[Path, list[float]] = defaultdict(list)
    unreadable: list[str] = []
    for sequence in sequences:
        try:
            found = _similarities(segmenter, sequence)
            means[sequence.frames[0].parents[1]].extend(found)
        except InputError as error:
            unreadable.append(str(error))
    network.train(training)
    if not means:
        raise InputError("; ".join(["no held-out sequence can be read", *unreadable]))
    return float(np.mean([np.mean(of_set) for of_set in means.values()])), unreadable


def _similarities(segmenter: Segmenter, sequence: VideoSequence) -> np.ndarray:
    """Mean J of each object of a sequence (O,)."""
    ids = object_ids(sequence.labels(0))
    scores = [
        region_similarity(sequence.labels(result.index), result.labels, ids)
        for result in segment_sequence(segmenter, sequence, FRAMES)
        if result.index and sequence.annotations[result.index] is not None
    ]
    return np.mean(scores, axis=0)

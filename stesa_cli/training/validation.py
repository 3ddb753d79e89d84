"""The held-out sequences as one number, while training."""

import numpy as np

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.inference.sequence import segment_sequence
from stesa_cli.masks import object_ids
from stesa_cli.metrics.region import region_similarity
from stesa_cli.model.network import Network


def mean_region_similarity(network: Network, sequences: list[VideoSequence], size: int, frames: int = 40) -> float:
    """Mean J over objects of the first ``frames`` annotated frames of each sequence, without finetuning."""
    training = network.training
    config = InferenceConfig(size=size, finetune=False)
    segmenter = Segmenter(network, config, device=str(next(network.parameters()).device))
    means: list[float] = []
    for sequence in sequences:
        ids = object_ids(sequence.labels(0))
        scores = [
            region_similarity(sequence.labels(result.index), result.labels, ids)
            for result in segment_sequence(segmenter, sequence, frames)
            if result.index and sequence.annotations[result.index] is not None
        ]
        means.extend(np.mean(scores, axis=0))
    network.train(training)
    return float(np.mean(means))

"""From a data set to predictions and scores."""

from collections.abc import Iterator

import numpy as np

from stesa_cli.data.clip import VideoSequence
from stesa_cli.engine.segmentation import Segmenter
from stesa_cli.masks import label_map
from stesa_cli.metrics.region import region_similarity
from stesa_cli.model.network import Network


def predict(segmenter: Segmenter, sequence: VideoSequence, frames: int | None = None) -> Iterator[np.ndarray]:
    """The label maps (H, W) uint8 that the segmenter gives for each frame, from the first frame's true mask on."""
    for index in range(len(sequence.frames))[:frames]:
        image = sequence.image(index)
        if index == 0:
            first = sequence.labels(0)
            segmenter.start(image, first)
            yield first
        else:
            yield label_map(segmenter.step(image), segmenter.ids)


def mean_region_similarity(network: Network, sequences: list[VideoSequence], size: int, frames: int = 40) -> float:
    """Mean J over objects of the first ``frames`` annotated frames of each sequence, for validation while training."""
    training = network.training
    segmenter = Segmenter(network, size, device=str(next(network.parameters()).device))
    means: list[float] = []
    for sequence in sequences:
        scores = [
            region_similarity(sequence.labels(index), predicted, segmenter.ids)
            for index, predicted in enumerate(predict(segmenter, sequence, frames))
            if index and sequence.annotations[index] is not None
        ]
        means.extend(np.mean(scores, axis=0))
    network.train(training)
    return float(np.mean(means))

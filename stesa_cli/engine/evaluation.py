"""The model on a benchmark: predictions of its sequences, as masks on disk or as one number while training."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy, deepcopy
from pathlib import Path

import numpy as np

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.engine.adaptation import adapt
from stesa_cli.engine.benchmark import mask_name, missing
from stesa_cli.engine.segmentation import Segmenter
from stesa_cli.masks import label_map, object_ids, write_mask
from stesa_cli.metrics.region import region_similarity
from stesa_cli.model.network import Network


def predict(
    segmenter: Segmenter, sequence: VideoSequence, frames: int | None = None, seconds: float = 0.0
) -> Iterator[np.ndarray]:
    """The label maps (H, W) uint8 that the segmenter gives for each frame, from the masks that a method is given; a
    copy of it is adapted to the first of these for so many ``seconds``."""
    ids: list[int] = []
    for index in range(len(sequence.frames))[:frames]:
        image, given = sequence.image(index), sequence.given(index, ids)
        if ids:
            probabilities = segmenter.step(image, given)
        elif given is not None:
            if seconds:
                segmenter = copy(segmenter)
                segmenter.network = deepcopy(segmenter.network)
                adapt(segmenter.network, image, given, seconds, segmenter.precision)
            probabilities = segmenter.start(image, given)
        else:
            yield np.zeros(image.shape[:2], np.uint8)
            continue
        ids = segmenter.ids
        yield label_map(probabilities, ids)


def mean_region_similarity(network: Network, sequences: list[VideoSequence], size: int, frames: int = 40) -> float:
    """Mean J over objects of the first ``frames`` annotated frames of each sequence, for validation while training."""
    training = network.training
    segmenter = Segmenter(network, size, device=str(next(network.parameters()).device))
    means: list[float] = []
    for sequence in sequences:
        ids = object_ids(sequence.labels(0))
        scores = [
            region_similarity(sequence.labels(index), predicted, ids)
            for index, predicted in enumerate(predict(segmenter, sequence, frames))
            if index and sequence.annotations[index] is not None
        ]
        means.extend(np.mean(scores, axis=0))
    network.train(training)
    return float(np.mean(means))


def write_predictions(
    predict: Callable[[VideoSequence], Iterator[np.ndarray]],
    sequences: Sequence[VideoSequence],
    folder: Path,
    resume: bool = False,
    on_frame: Callable[[int], None] = lambda frames: None,
) -> None:
    """Write the masks of every frame as ``folder/<sequence>/<frame>.png``; ``on_frame`` hears how many more are done.

    With ``resume``, sequences whose masks are all there are left as they are. Raises OutputError."""
    for sequence in sequences:
        if resume and not missing(folder, [sequence], all_frames=True):
            on_frame(len(sequence.frames))
            continue
        for frame, labels in zip(sequence.frames, predict(sequence), strict=True):
            write_mask(folder / mask_name(sequence, frame), labels)
            on_frame(1)

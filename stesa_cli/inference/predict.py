"""The model on a sequence of a data set."""

from collections.abc import Iterator
from copy import copy, deepcopy

import numpy as np

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.inference.finetune import adapt
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import label_map


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

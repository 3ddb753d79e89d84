"""The Segmenter on a sequence of a data set."""

from collections.abc import Iterator

import numpy as np

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.inference.result import FrameResult
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import object_ids
from stesa_cli.video.reading import FOLDER_RATE, Frame


def segment_sequence(segmenter: Segmenter, sequence: VideoSequence, frames: int | None = None) -> Iterator[FrameResult]:
    """The results of a sequence's frames, or the first so many, from the masks that a method is given."""
    segmenter.reset()
    shown = (Frame(sequence.image(i), i, float(i / FOLDER_RATE)) for i in range(len(sequence.frames))[:frames])
    known: set[int] = set()

    def prompt(frame: Frame) -> np.ndarray | None:
        labels = sequence.given(frame.index, known)
        known.update([] if labels is None else object_ids(labels))
        return labels

    return segmenter.propagate(shown, prompt)

"""The model's masks of a benchmark, on disk."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.evaluation.benchmark import mask_name, missing
from stesa_cli.masks import write_mask


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

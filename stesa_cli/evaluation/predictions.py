"""The model's masks of a benchmark, on disk."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stesa_cli import __version__
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import OutputError
from stesa_cli.evaluation.benchmark import mask_name, missing
from stesa_cli.files import write_text
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.inference.sequence import segment_sequence
from stesa_cli.masks import write_mask
from stesa_cli.runtime import Precision, resolved

MADE = "made.json"
"""The file, beside the masks, that tells how they were made."""


def how_made(segmenter: Segmenter, weights: str) -> dict[str, Any]:
    """All that masks depend on, as JSON values: the version of STESA, the weights by name, and the InferenceConfig, in
    which the precision ``auto`` is what that is on the device."""
    precision = resolved(segmenter.device, segmenter.config.precision)
    return made_with(weights, segmenter.config, precision)


def made_with(weights: str, config: InferenceConfig, precision: Precision) -> dict[str, Any]:
    """The same of a Segmenter that is elsewhere, with the ``precision`` that ``auto`` is there."""
    inference = config.model_copy(update={"precision": precision})
    return {"version": __version__, "weights": weights, "inference": inference.model_dump()}


def write_predictions(
    segmenter: Segmenter,
    sequences: Sequence[VideoSequence],
    folder: Path,
    made: dict[str, Any],
    resume: bool = False,
    on_frame: Callable[[int], None] = lambda frames: None,
) -> None:
    """Write the masks of every frame as ``folder/<sequence>/<frame>.png``, and how they were ``made`` beside them;
    ``on_frame`` hears how many more are done.

    With ``resume``, sequences whose masks are all there are left as they are. Raises OutputError, also when those were
    made otherwise."""
    note_made(folder, made, resume)
    for sequence in sequences:
        if resume and is_complete(folder, sequence):
            on_frame(len(sequence.frames))
            continue
        for _ in write_sequence(segmenter, sequence, folder):
            on_frame(1)


def note_made(folder: Path, made: dict[str, Any], resume: bool) -> None:
    """Write how masks are made beside them. Raises OutputError where those to ``resume`` were made otherwise."""
    text, note = json.dumps(made, indent=1) + "\n", folder / MADE
    if resume and note.is_file() and note.read_text(encoding="utf-8") != text:
        what = "tells of other settings than those given now"
        raise OutputError(what, note, "give the same ones, or leave out --resume and choose another --masks-dir")
    write_text(note, text)


def is_complete(folder: Path, sequence: VideoSequence) -> bool:
    """Whether the masks of all its frames are there."""
    return not missing(folder, [sequence], all_frames=True)


def write_sequence(segmenter: Segmenter, sequence: VideoSequence, folder: Path) -> Iterator[int]:
    """Write the masks of a sequence's frames; yields how many are done, after each."""
    pairs = zip(sequence.frames, segment_sequence(segmenter, sequence), strict=True)
    for done, (frame, result) in enumerate(pairs, 1):
        write_mask(folder / mask_name(sequence, frame), result.labels)
        yield done

"""Checks a data set before training: what cannot be trained on is left out, and one line says so."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

from PIL import Image

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import InputError
from stesa_cli.masks import mask_size, object_ids

THREADS = 8  # a disk across a network answers several at once
Fault = tuple[str, str]
"""Its kind, and where it is."""
SIZE = "masks of another size than their image"
ODD = "frames of another size than the rest of their sequence"
UNREADABLE = "files that cannot be read"
NOTHING = "sequences without objects"


def check(sequences: list[VideoSequence]) -> tuple[list[VideoSequence], str]:
    """Returns the sequences that can be trained on, without annotations that cannot be used, and one line that says
    what was left out; the line is empty if nothing was. Reads the headers of all annotated frames and their masks, and
    decodes the masks of each sequence up to the first that shows an object."""
    with ThreadPoolExecutor(THREADS) as pool:
        checked = list(pool.map(_checked, sequences))
    faults = list(chain.from_iterable(found for _, found in checked))
    examples = dict(reversed(faults))
    counts = Counter(kind for kind, _ in faults)
    line = "; ".join(f"{kind} ({count}, such as {examples[kind]})" for kind, count in counts.items())
    return [sequence for sequence, _ in checked if sequence is not None], f"left out are {line}" if line else ""


def _checked(sequence: VideoSequence) -> tuple[VideoSequence | None, list[Fault]]:
    faults: list[Fault] = []
    sizes: dict[int, tuple[int, int]] = {}
    shown = False
    for index, (frame, mask) in enumerate(zip(sequence.frames, sequence.annotations, strict=True)):
        if mask is None:
            continue
        try:
            size, of_mask = _image_size(frame), mask_size(mask)
            if size != of_mask:
                faults.append((SIZE, f"{mask}, {_written(of_mask)} and not {_written(size)}"))
                continue
            shown = shown or bool(object_ids(sequence.labels(index)))
            sizes[index] = size
        except InputError as error:
            faults.append((UNREADABLE, error.where))
    if not shown:
        return None, [*faults, (NOTHING, sequence.name)]
    usual = Counter(sizes.values()).most_common(1)[0][0]
    faults += [(ODD, str(sequence.frames[index])) for index, size in sizes.items() if size != usual]
    kept = [mask if sizes.get(index) == usual else None for index, mask in enumerate(sequence.annotations)]
    return replace(sequence, annotations=tuple(kept)), faults


def _image_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("cannot be decoded as an image", path) from error


def _written(size: tuple[int, int]) -> str:
    return "{}×{}".format(*size)

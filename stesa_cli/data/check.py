"""Checks a data set before long work. For training, what cannot be used is left out, and one line says so; for
evaluation, where nothing may be missing, it is an error."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain

from stesa_cli.data.sequence import VideoSequence, misfit
from stesa_cli.errors import InputError
from stesa_cli.masks import mask_size, object_ids

THREADS = 8  # a disk across a network answers several at once
TOLD = 5  # problems
Fault = tuple[str, str]
"""Its kind, and where it is."""
SIZE = "masks of another size than their image"
ODD = "frames of another size than the rest of their sequence"
UNREADABLE = "files that cannot be read"
NOTHING = "sequences without objects"
BROKEN = SIZE, UNREADABLE


def check(sequences: Sequence[VideoSequence]) -> tuple[list[VideoSequence], str]:
    """Returns the sequences that can be trained on, without annotations that cannot be used, and one line that says
    what was left out; the line is empty if nothing was. Reads the headers of all annotated frames and their masks, and
    decodes the masks of each sequence up to the first that shows an object."""
    checked = _all_checked(sequences)
    faults = list(chain.from_iterable(found for _, found in checked))
    examples = dict(reversed(faults))
    counts = Counter(kind for kind, _ in faults)
    line = "; ".join(f"{kind} ({count}, such as {examples[kind]})" for kind, count in counts.items())
    return [sequence for sequence, _ in checked if sequence is not None], f"left out are {line}" if line else ""


def require_sound(sequences: Sequence[VideoSequence]) -> None:
    """Raises InputError with all masks that do not fit their frames, and all files that cannot be read."""
    faults = chain.from_iterable(found for _, found in _all_checked(sequences))
    problems = [f"{where}: cannot be read" if kind == UNREADABLE else where for kind, where in faults if kind in BROKEN]
    if problems:
        more = [f"and {len(problems) - TOLD} more"] if len(problems) > TOLD else []
        raise InputError("; ".join(problems[:TOLD] + more), fix="copy the data again, or take these out")


def _all_checked(sequences: Sequence[VideoSequence]) -> list[tuple[VideoSequence | None, list[Fault]]]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(_checked, sequences))


def _checked(sequence: VideoSequence) -> tuple[VideoSequence | None, list[Fault]]:
    faults: list[Fault] = []
    sizes: dict[int, tuple[int, int]] = {}
    shown = False
    for index, mask in enumerate(sequence.annotations):
        if mask is None:
            continue
        try:
            size = sequence.size(index)
            if what := misfit(mask_size(mask), size[::-1]):
                faults.append((SIZE, f"{mask}: {what}"))
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

"""What masks look like that score badly though they are good: ids in another order, object and background swapped."""

from collections.abc import Collection

import numpy as np

from stesa_cli.masks import VOID, object_ids, swapped_ids

SAME = 0.5  # intersection over union above which two objects are one
APART = 0.2  # and below which they are not

Doubt = tuple[str, str]
"""What is in doubt, in words that many sequences share, and what it is in this one."""


def doubts(predicted: np.ndarray, truth: np.ndarray, known: Collection[int], merged: bool) -> list[Doubt]:
    """Doubts about a mask, a label map (H, W) uint8 like its ``truth``; ``known`` are the ids of the sequence so far.
    ``merged``: all ids count as one."""
    if merged:
        predicted, truth = (np.where((each > 0) & (each < VOID), 1, each) for each in (predicted, truth))
        known = [1]
    ids, wanted = object_ids(predicted), object_ids(truth)
    if set(ids) - set(known) and set(swapped_ids(ids)) <= set(known):
        return [("red and blue seem to be swapped: its ids would be those of the truth otherwise", "")]
    found: list[Doubt] = []
    shown, ground = (predicted > 0) & (predicted < VOID), truth == 0
    if wanted and ids and _iou(ground, shown) > SAME > _iou(ground, predicted == 0):
        found.append(("object and background seem to be swapped", ""))
    elif len(wanted) > len(ids) == 1 and all(shown[truth == i].mean() > SAME for i in wanted):
        found.append(("all its objects have one id", f"{ids[0]}, where the truth has {_few(wanted)}"))
    elif moved := {i: j for i in wanted for j in ids if j in known and _is_moved(predicted, truth, i, j)}:
        names = ", ".join(f"object {i} has the id {j}" for i, j in moved.items())
        found.append(("its ids seem to be in another order than those of the truth", names))
    if strange := sorted(set(ids) - set(known)):
        names = f"{_few(strange)}, where the truth has {_few(sorted(known))}"
        found.append(("holds ids that the truth does not have, which count as background", names))
    return found


def _is_moved(predicted: np.ndarray, truth: np.ndarray, i: int, j: int) -> bool:
    """Whether object ``i`` of the truth has the id ``j``, of another."""
    return i != j and _iou(truth == i, predicted == j) > SAME and _iou(truth == i, predicted == i) < APART


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _few(ids: Collection[int]) -> str:
    shown = [str(i) for i in ids]
    return ", ".join(shown[:6]) + ", …" * (len(shown) > 6)

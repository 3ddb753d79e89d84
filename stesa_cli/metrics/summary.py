"""From frames to a benchmark's table: J and F of each object, averaged per sequence and over the data set."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.masks import VOID, object_ids
from stesa_cli.metrics.boundary import contour_accuracy
from stesa_cli.metrics.region import region_similarity


@dataclass(frozen=True)
class Protocol:
    """What a benchmark scores. Always left out is the frame in which an object is given."""

    merged: bool = False
    """All ids are one foreground, object 1."""
    late: bool = False
    """Objects may enter after the first frame, and the last frame counts; otherwise as the DAVIS toolkits do."""


DAVIS_2016 = Protocol(merged=True)
DAVIS_2017 = Protocol()
YOUTUBE_VOS = Protocol(late=True)


@dataclass(frozen=True)
class Measures:
    """The seven numbers of a DAVIS table: mean in [0, 1], recall (share above 0.5) in [0, 1], decay in [-1, 1]."""

    J_mean: float
    J_recall: float
    J_decay: float
    F_mean: float
    F_recall: float
    F_decay: float
    JF_mean: float

    @staticmethod
    def mean(measures: Iterable["Measures"]) -> "Measures":
        """Each number averaged: as in the DAVIS toolkits, recall and decay are taken per object and then averaged."""
        return Measures(*np.mean([astuple(m) for m in measures], axis=0).tolist())


@dataclass(frozen=True)
class ObjectScores:
    """J and F, each in [0, 1], of the scored frames of one object, in order."""

    J: list[float]
    F: list[float]

    @property
    def measures(self) -> Measures:
        j, f = mean_recall_decay(self.J), mean_recall_decay(self.F)
        return Measures(*j, *f, JF_mean=(j[0] + f[0]) / 2)


@dataclass(frozen=True)
class SequenceScores:
    """The scores of one sequence by object id."""

    objects: dict[int, ObjectScores]

    @property
    def measures(self) -> Measures:
        return Measures.mean(scores.measures for scores in self.objects.values())


@dataclass(frozen=True)
class DatasetScores:
    """The scores of a data set by sequence name. ``seen`` is for YouTube-VOS only: the ids, by sequence, of the
    objects whose category the training set holds."""

    dataset: str
    year: int
    split: str
    sequences: dict[str, SequenceScores]
    seen: Mapping[str, Collection[int]] | None = None

    @property
    def measures(self) -> Measures:
        """Every object weighs the same, whatever its sequence (DAVIS-2017; one object each in DAVIS-2016)."""
        return Measures.mean(o.measures for s in self.sequences.values() for o in s.objects.values())

    def categories(self, seen: Mapping[str, Collection[int]]) -> dict[str, float | None]:
        """J_seen, J_unseen, F_seen, F_unseen and their mean G (Xu et al., YouTube-VOS, 2018). A group without objects
        is None and does not enter G."""
        groups: dict[bool, list[Measures]] = {True: [], False: []}
        for name, sequence in self.sequences.items():
            for i, scores in sequence.objects.items():
                groups[i in seen.get(name, ())].append(scores.measures)
        means = {group: Measures.mean(of) if of else None for group, of in groups.items()}
        result = {
            f"{letter}_{label}": getattr(means[group], f"{letter}_mean", None)
            for letter in "JF"
            for group, label in ((True, "seen"), (False, "unseen"))
        }
        return {**result, "G": float(np.mean([value for value in result.values() if value is not None]))}

    def to_dict(self) -> dict[str, Any]:
        """As written to JSON: keys dataset, year, split, global, sequences."""
        return {
            "dataset": self.dataset,
            "year": self.year,
            "split": self.split,
            "global": asdict(self.measures) | (self.categories(self.seen) if self.seen is not None else {}),
            "sequences": {
                name: asdict(sequence.measures)
                | {"objects": {str(i): asdict(scores) for i, scores in sequence.objects.items()}}
                for name, sequence in self.sequences.items()
            },
        }


def mean_recall_decay(scores: list[float]) -> tuple[float, float, float]:
    """Mean, recall and decay of one object's scores over time, as the DAVIS-2017 toolkit defines them.

    Recall is the share above 0.5; decay is the mean of the first quarter less that of the last, where neighbouring
    quarters share their edge frame. NaN is left out of means and counts as a miss in recall.
    """
    values = np.array(scores, dtype=np.float64)
    # The toolkit counts from 1 and lifts the edges by a hair, so that halves are rounded up and not to even.
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    decay = np.nanmean(values[: edges[1] + 1]) - np.nanmean(values[edges[3] :])
    return float(np.nanmean(values)), float(np.mean(values > 0.5)), float(decay)


def score_sequence(
    name: str, frames: Iterable[tuple[np.ndarray, np.ndarray]], protocol: Protocol = DAVIS_2017
) -> SequenceScores:
    """Score one sequence from its annotated frames in order, first and last included, holding two at a time.

    ``frames`` yields truth and prediction, label maps (H, W) uint8. Predicted ids that the truth does not give count
    as background. Raises InputError when sizes differ or nothing is left to score.
    """
    objects: dict[int, ObjectScores] = {}
    kept = frames if protocol.late else (now for now, _ in pairwise(frames))
    for index, (truth, predicted) in enumerate(kept):
        if truth.shape != predicted.shape:
            sizes = [f"{width}×{height}" for height, width in (predicted.shape, truth.shape)]
            raise InputError(
                f"predicted mask {index} is {sizes[0]} but the truth is {sizes[1]}", name, "save masks at source size"
            )
        if protocol.merged:
            truth, predicted = np.where(truth == VOID, truth, truth > 0), (predicted > 0).astype(np.uint8)
        ids = list(objects)
        js, fs = region_similarity(truth, predicted, ids), contour_accuracy(truth, predicted, ids)
        for scores, j, f in zip(objects.values(), js.tolist(), fs.tolist(), strict=True):
            scores.J.append(j)
            scores.F.append(f)
        if protocol.late or index == 0:
            objects |= {i: ObjectScores([], []) for i in object_ids(truth) if i not in objects}
    objects = {i: scores for i, scores in sorted(objects.items()) if scores.J}
    if not objects:
        raise InputError("has no object with a frame to score", name, "check the masks of the true annotations")
    return SequenceScores(objects)

import json
import weakref
from math import hypot, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stesa_cli.errors import InputError
from stesa_cli.masks import object_ids, read_mask
from stesa_cli.metrics.summary import (
    DAVIS_2016,
    DAVIS_2017,
    YOUTUBE_VOS,
    DatasetScores,
    ObjectScores,
    SequenceScores,
    mean_recall_decay,
    score_sequence,
)

SEVEN = ["J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "JF_mean"]


def labels(*ids):
    """A label map (8, 16) with one square per id, 0 for none."""
    return np.kron(np.array([ids], np.uint8), np.pad(np.ones((4, 16 // len(ids) - 2), np.uint8), ((2, 2), (1, 1))))


def scored(*js):
    """Scores of one object whose F is half its J."""
    return ObjectScores(list(js), [j / 2 for j in js])


def dataset(sequences, **kwargs):
    return DatasetScores("tiny", 2026, "val", {n: SequenceScores(o) for n, o in sequences.items()}, **kwargs)


def test_mean_recall_decay_by_hand():
    # Seven frames, counted from 1: quarters end at 1, 2.5, 4, 5.5, 7, halves up. First: 1…3, last: 6…7.
    values = [1.0, 0.9, 0.8, 0.5, 0.4, 0.4, 0.2]
    assert mean_recall_decay(values) == pytest.approx((0.6, 3 / 7, 0.9 - 0.3))
    assert mean_recall_decay([nan, 0.9, 0.7, 0.5, 0.4, 0.4, 0.2]) == pytest.approx((3.1 / 6, 2 / 7, 0.8 - 0.3))
    assert mean_recall_decay([0.75]) == (0.75, 1, 0)


def test_quarters_are_right_beyond_256_frames():  # where the toolkit's own 8-bit frame numbers wrap around
    assert mean_recall_decay([1.0] * 250 + [0.0] * 250)[2] == 1


def test_first_and_last_frame_are_not_scored():
    truth, wrong = labels(1, 2), labels(0, 0)
    scores = score_sequence("s", [(truth, wrong), (truth, truth), (truth, wrong), (truth, wrong)])
    assert scores.objects == {1: ObjectScores([1, 0], [1, 0]), 2: ObjectScores([1, 0], [1, 0])}


def test_davis_counts_the_objects_of_the_first_frame_only():
    truths = [labels(0, 3), labels(1, 3), labels(1, 3), labels(1, 3)]
    assert list(score_sequence("s", [(t, t) for t in truths], DAVIS_2017).objects) == [3]


def test_davis_2016_merges_all_ids_and_keeps_void():
    truth = labels(1, 7, 255, 255)
    scores = score_sequence("s", [(truth, truth), (truth, labels(9, 255, 1, 0)), (truth, truth)], DAVIS_2016)
    assert scores.objects == {1: ObjectScores([1], [1])}


def test_youtube_vos_scores_late_objects_after_they_enter():
    truths = [labels(2, 0, 0), labels(2, 1, 0), labels(2, 1, 0), labels(2, 1, 5)]
    predicted = [labels(0, 0, 0), labels(2, 0, 0), labels(2, 0, 0), labels(2, 1, 0)]
    scores = score_sequence("s", zip(truths, predicted, strict=True), YOUTUBE_VOS)
    # Object 5 enters with the last frame and leaves nothing to score.
    assert {i: scores.objects[i].J for i in scores.objects} == {1: [0, 1], 2: [1, 1, 1]}
    assert list(scores.objects) == [1, 2]


def test_memory_does_not_grow_with_the_sequence():
    alive = weakref.WeakSet()

    def frames():
        for _ in range(30):
            truth = labels(1, 2).view(Tracked)
            alive.add(truth)
            yield truth, labels(1, 2)
            assert len(alive) <= 3

    score_sequence("s", frames())


class Tracked(np.ndarray):
    __hash__ = object.__hash__  # a WeakSet needs it, arrays have none


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([(labels(1, 2), labels(1, 2))] * 2, "s: has no object with a frame to score"),
        ([(labels(0, 0), labels(0, 0))] * 3, "s: has no object with a frame to score"),
        ([], "s: has no object with a frame to score"),
        ([(labels(1, 2), labels(1, 2)[:, :10])] * 3, "s: predicted mask 0 is 10×8 but the truth is 16×8"),
    ],
)
def test_what_cannot_be_scored_is_named(frames, message):
    with pytest.raises(InputError) as caught:
        score_sequence("s", frames)
    assert str(caught.value).startswith(message)


def test_every_object_weighs_the_same():
    scores = dataset({"a": {1: scored(0.2, 0.4), 2: scored(0.6, 0.8)}, "b": {1: scored(1, 1)}})
    assert scores.measures.J_mean == pytest.approx((0.3 + 0.7 + 1) / 3)
    assert scores.measures.J_recall == pytest.approx((0 + 1 + 1) / 3)
    assert scores.sequences["a"].measures.J_mean == pytest.approx(0.5)
    assert scores.measures.JF_mean == pytest.approx(0.75 * scores.measures.J_mean)


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=9), min_size=1, max_size=6), st.randoms())
def test_the_order_of_sequences_does_not_matter(values, random):
    sequences = [(f"s{i}", {1: scored(*js)}) for i, js in enumerate(values)]
    shuffled = random.sample(sequences, len(sequences))
    for one, other in zip(*(dataset(dict(s)).to_dict()["global"].values() for s in (sequences, shuffled)), strict=True):
        assert one == pytest.approx(other)


def test_json_has_exactly_the_agreed_keys():
    result = json.loads(json.dumps(dataset({"a": {1: scored(0.2, 0.4)}, "b": {12: scored(1)}}).to_dict()))
    assert list(result) == ["dataset", "year", "split", "global", "sequences"]
    assert (result["dataset"], result["year"], result["split"]) == ("tiny", 2026, "val")
    assert list(result["global"]) == SEVEN
    assert list(result["sequences"]["a"]) == [*SEVEN, "objects"]
    assert result["sequences"]["a"]["objects"] == {"1": {"J": [0.2, 0.4], "F": [0.1, 0.2]}}
    assert list(result["sequences"]["b"]["objects"]) == ["12"]


def test_seen_and_unseen_categories():
    sequences = {"a": {1: scored(0.2), 2: scored(0.4)}, "b": {1: scored(0.8)}}
    found = dataset(sequences, seen={"a": [1], "b": [1]}).to_dict()["global"]
    assert list(found) == [*SEVEN, "J_seen", "J_unseen", "F_seen", "F_unseen", "G"]
    assert [found[k] for k in ("J_seen", "J_unseen", "F_seen", "F_unseen")] == pytest.approx([0.5, 0.4, 0.25, 0.2])
    assert found["G"] == pytest.approx((0.5 + 0.4 + 0.25 + 0.2) / 4)
    assert dataset(sequences, seen={}).to_dict()["global"]["J_seen"] is None


def test_many_objects_against_pixel_lists(data_root):
    """schoolgirls, 7 objects: truth moved by (2, 5) pixels with two ids exchanged, checked from lists of pixels."""
    paths = sorted((data_root / "davis2017/Annotations").rglob("schoolgirls/*.png"))[:5]
    truths = [read_mask(path) for path in paths]
    exchange = np.arange(256, dtype=np.uint8)
    exchange[[3, 5]] = 5, 3
    predictions = [exchange[np.roll(truth, (2, 5), (0, 1))] for truth in truths]
    scores = score_sequence("schoolgirls", zip(truths, predictions, strict=True))
    assert list(scores.objects) == object_ids(truths[0]) == [1, 2, 3, 4, 5, 6, 7]
    for frame in (1, 2, 3):
        for i, found in scores.objects.items():
            true, predicted = (set(zip(*np.nonzero(m[frame] == i), strict=True)) for m in (truths, predictions))
            assert found.J[frame - 1] == len(true & predicted) / len(true | predicted)
            assert found.F[frame - 1] == pytest.approx(f_of_pixels(true, predicted, truths[0].shape))


def f_of_pixels(true, predicted, size):
    def window(y, x):
        return {(y + dy, x + dx) for dy in (0, 1) if y + dy < size[0] for dx in (0, 1) if x + dx < size[1]}

    def outline(mask):
        near = {(max(y - dy, 0), max(x - dx, 0)) for y, x in mask for dy in (0, 1) for dx in (0, 1)}
        return np.array([p for p in near if 0 < len(window(*p) & mask) < len(window(*p))])

    distances = np.linalg.norm(outline(true)[:, None] - outline(predicted)[None], axis=-1)
    near = distances <= np.ceil(0.008 * hypot(*size))
    recall, precision = near.any(1).mean(), near.any(0).mean()
    return 2 * precision * recall / (precision + recall) if near.any() else 0

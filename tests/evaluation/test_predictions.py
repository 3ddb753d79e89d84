"""The model's side of evaluation, with a segmenter that is told what to answer."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from stesa_cli.data import davis as davis_layout
from stesa_cli.data import youtube_vos as youtube_layout
from stesa_cli.evaluation.predictions import write_predictions
from stesa_cli.inference import finetune as adaptation
from stesa_cli.inference.predict import predict
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import object_ids, one_hot, read_mask

from ..layouts import davis, squares, youtube_vos
from ..networks import tiny_network


class Still:
    """Answers that every object stays where it was given."""

    def start(self, image, labels):
        self.ids, self.known = [], np.zeros_like(labels)
        return self.step(image, labels)

    def step(self, image, labels=None):
        if labels is not None:
            assert not set(object_ids(labels)) & set(self.ids), "given twice"
            self.ids += object_ids(labels)
            self.known = np.where(labels > 0, labels, self.known)
        return one_hot(torch.from_numpy(self.known), [0, *self.ids])


def test_davis_gives_the_first_mask_only_and_no_void(tmp_path):
    masks = [squares(t, 1, 2) for t in range(4)]
    masks[0][-1] = 255
    davis(tmp_path, 2017, "val", {"a": masks})
    [sequence] = davis_layout.sequences(tmp_path, 2017, "val")
    found = list(predict(Still(), sequence))
    assert len(found) == 4
    assert all((labels == squares(0, 1, 2)).all() for labels in found)
    assert len(list(predict(Still(), sequence, frames=2))) == 2


def test_every_sequence_gets_a_network_of_its_own_to_adapt(tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation, "STEPS", 3)
    monkeypatch.setattr(adaptation, "RATE", 0.05)  # these weights, made by chance, must change much
    davis(tmp_path, 2017, "val", {"a": [squares(t, 1, 2) for t in range(3)]})
    [sequence] = davis_layout.sequences(tmp_path, 2017, "val")
    segmenter = Segmenter(tiny_network(), device="cpu")
    before = deepcopy(segmenter.network.state_dict())
    plain = [list(predict(segmenter, sequence)) for _ in range(2)]
    adapted = [list(predict(segmenter, sequence, seconds=1e3)) for _ in range(2)]
    assert all(np.array_equal(*pair) for both in (plain, adapted) for pair in zip(*both, strict=True))
    assert not np.array_equal(plain[0][1], adapted[0][1])
    assert all(torch.equal(tensor, before[name]) for name, tensor in segmenter.network.state_dict().items())


def test_objects_that_enter_late_are_given_then_and_once(tmp_path):
    masks = [None, squares(1, 4), None, squares(3, 4, 9), squares(4, 4, 9)]
    youtube_vos(tmp_path, "valid", {"v": masks}, {"v": {4: "dog", 9: "cat"}})
    [sequence] = youtube_layout.sequences(tmp_path, "valid")
    found = list(predict(Still(), sequence))
    assert [object_ids(labels) for labels in found] == [[], [4], [4], [4, 9], [4, 9]]
    # Object 9 comes in the fourth frame; what is known of object 4 by then is where it was in the second.
    expected = np.maximum(squares(1, 4), np.where(squares(3, 4, 9) == 9, 9, 0))
    assert (found[3] == expected).all() and (found[4] == expected).all()


@pytest.fixture
def split(tmp_path):
    davis(tmp_path / "data", 2016, "val", {name: [squares(t, 1) for t in range(3)] for name in "ab"})
    return davis_layout.sequences(tmp_path / "data", 2016, "val")


def test_masks_take_the_names_of_their_frames(split, tmp_path):
    steps = []
    write_predictions(lambda sequence: (squares(t, 5) for t in range(3)), split, tmp_path / "m", on_frame=steps.append)
    assert sorted(str(p.relative_to(tmp_path / "m")) for p in (tmp_path / "m").rglob("*.png")) == [
        f"{name}/{t:05d}.png" for name in "ab" for t in range(3)
    ]
    assert (read_mask(tmp_path / "m/b/00002.png") == squares(2, 5)).all() and steps == [1] * 6


def test_resuming_computes_what_is_not_complete(split, tmp_path):
    def failing(sequence):
        for t in range(3):
            if sequence.name == "b" and t == 2:
                raise KeyboardInterrupt
            yield squares(t, 5)

    with pytest.raises(KeyboardInterrupt):
        write_predictions(failing, split, tmp_path / "m")
    asked, steps = [], []

    def remaining(sequence):
        asked.append(sequence.name)
        return (squares(t, 6) for t in range(3))

    write_predictions(remaining, split, tmp_path / "m", resume=True, on_frame=steps.append)
    assert asked == ["b"] and steps == [3, 1, 1, 1]
    write_predictions(remaining, split, tmp_path / "m")
    assert asked == ["b", "a", "b"]

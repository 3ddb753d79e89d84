"""The model's side of evaluation, with a tiny network that nobody trained."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch

from stesa_cli import __version__
from stesa_cli.data import davis as davis_layout
from stesa_cli.data import youtube_vos as youtube_layout
from stesa_cli.errors import OutputError
from stesa_cli.evaluation.predictions import how_made, write_predictions
from stesa_cli.inference import finetune
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.inference.sequence import segment_sequence
from stesa_cli.masks import object_ids, read_mask

from ..layouts import davis, squares, youtube_vos
from ..networks import tiny_network

PLAIN = InferenceConfig.preset("fast", size=32)


@pytest.fixture
def segmenter():
    return Segmenter(tiny_network(), PLAIN, "cpu")


@pytest.fixture
def prompts(segmenter, monkeypatch):
    """What the segmenter is given with each frame that it segments, in order."""
    given, follow = [], segmenter._follow
    monkeypatch.setattr(segmenter, "_follow", lambda seen: (given.append(seen.given.labels), follow(seen))[1])
    return given


def test_davis_gives_the_first_mask_only_and_no_void(segmenter, prompts, tmp_path):
    masks = [squares(t, 1, 2) for t in range(4)]
    masks[0][-1] = 255
    davis(tmp_path, 2017, "val", {"a": masks})
    [sequence] = davis_layout.sequences(tmp_path, 2017, "val")
    found = list(segment_sequence(segmenter, sequence))
    assert [result.index for result in found] == [0, 1, 2, 3]
    assert (prompts[0] == squares(0, 1, 2)).all() and prompts[1:] == [None] * 3
    assert (found[0].labels == squares(0, 1, 2)).all() and found[0].labels.dtype == np.uint8
    assert len(list(segment_sequence(segmenter, sequence, frames=2))) == 2


def test_objects_that_enter_late_are_prompted_then_and_once(segmenter, prompts, tmp_path):
    masks = [None, squares(1, 4), None, squares(3, 4, 9), squares(4, 4, 9)]
    youtube_vos(tmp_path, "valid", {"v": masks}, {"v": {4: "dog", 9: "cat"}})
    [sequence] = youtube_layout.sequences(tmp_path, "valid")
    found = list(segment_sequence(segmenter, sequence))
    assert [result.ids for result in found] == [(), (4,), (4,), (4, 9), (4, 9)]
    given = [labels if labels is None else object_ids(labels) for labels in prompts]
    assert given == [[4], None, [9], None]  # the first frame has nothing to segment
    assert not found[0].labels.any() and (found[1].labels == squares(1, 4)).all()
    assert ((found[3].labels == 9) == (squares(3, 4, 9) == 9)).all()


def test_every_sequence_is_finetuned_anew_from_the_loaded_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "STEPS", 3)
    monkeypatch.setattr(finetune, "RATE", 0.05)  # these weights, made by chance, must change much
    davis(tmp_path, 2017, "val", {"a": [squares(t, 1, 2) for t in range(3)], "b": [squares(t, 1) for t in range(3)]})
    sequences = davis_layout.sequences(tmp_path, 2017, "val")
    network, config = tiny_network(), PLAIN.model_copy(update={"finetune": True})
    loaded, segmenter = deepcopy(network.state_dict()), Segmenter(network, config, "cpu")

    def sure(segmenter, *chosen):
        return [result.confidence for at in chosen for result in segment_sequence(segmenter, sequences[at])]

    plain, finetuned = sure(Segmenter(tiny_network(), PLAIN, "cpu"), 1), sure(segmenter, 0, 1)[3:]
    assert not np.array_equal(plain, finetuned)
    assert np.array_equal(finetuned, sure(Segmenter(tiny_network(), config, "cpu"), 1))
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in network.state_dict().items())


@pytest.fixture
def split(tmp_path):
    davis(tmp_path / "data", 2016, "val", {name: [squares(t, 1) for t in range(3)] for name in "ab"})
    return davis_layout.sequences(tmp_path / "data", 2016, "val")


def test_masks_take_the_names_of_their_frames(segmenter, split, tmp_path):
    steps, folder = [], tmp_path / "m"
    made = how_made(segmenter, "tiny")
    write_predictions(segmenter, split, folder, made, on_frame=steps.append)
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) == sorted(
        ["a", "b", "made.json", *(f"{name}/{t:05d}.png" for name in "ab" for t in range(3))]
    )
    expected = [result.labels for result in segment_sequence(segmenter, split[1])]
    assert np.array_equal(expected, [read_mask(folder / f"b/{t:05d}.png") for t in range(3)]) and steps == [1] * 6
    assert json.loads((folder / "made.json").read_text()) == made


def test_how_masks_were_made_names_what_auto_stands_for(segmenter):
    made = how_made(segmenter, "tiny")
    assert (made["version"], made["weights"]) == (__version__, "tiny")
    assert made["inference"].pop("precision") in ("bf16", "fp16", "fp32")
    assert made["inference"] == PLAIN.model_dump(exclude={"precision"})


def test_resuming_computes_what_is_not_complete(segmenter, split, tmp_path):
    folder, made, steps = tmp_path / "m", how_made(segmenter, "tiny"), []

    def interrupt(frames):
        steps.append(frames)
        if len(steps) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(segmenter, split, folder, made, on_frame=interrupt)
    assert len(list(folder.rglob("*.png"))) == 5
    times, steps = {path: path.stat().st_mtime_ns for path in (folder / "a").iterdir()}, []
    write_predictions(segmenter, split, folder, made, resume=True, on_frame=steps.append)
    assert steps == [3, 1, 1, 1] and all(path.stat().st_mtime_ns == time for path, time in times.items())
    steps = []
    write_predictions(segmenter, split, folder, made, on_frame=steps.append)
    assert steps == [1] * 6


def test_masks_made_with_other_settings_are_not_resumed(segmenter, split, tmp_path):
    write_predictions(segmenter, split[:1], tmp_path / "m", how_made(segmenter, "tiny"))
    with pytest.raises(OutputError, match=r"m/made.json: tells of other settings than those given now"):
        write_predictions(segmenter, split, tmp_path / "m", how_made(segmenter, "other"), resume=True)
    assert not (tmp_path / "m/b").exists()

"""Clips: what they hold, and what they are a function of."""

import shutil
import tomllib
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from stesa_cli.data import davis, stills
from stesa_cli.data import youtube_vos as youtube_layout
from stesa_cli.data.clip import Clip, collate
from stesa_cli.data.sampling import ClipConfig, ClipDataset
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import ConfigError, InputError
from stesa_cli.masks import VOID

from ..layouts import squares, youtube_vos
from ..tiny import TINY

CLIP = ClipConfig.parse(tomllib.loads(TINY)["stages"][0]["clip"])


@pytest.fixture(scope="module")
def every(tiny_data):
    return [(1.0, davis.sequences(tiny_data, 2016, "train")), (1.0, stills.sequences(tiny_data))]


def test_a_clip_is_a_function_of_seed_and_number(every):
    def clips(seed: int) -> ClipDataset:
        return ClipDataset(every, CLIP, seed, 10)

    one, again, other = clips(0)[3], clips(0)[3], clips(1)[3]
    assert torch.equal(one.frames, again.frames) and torch.equal(one.labels, again.labels)
    assert not torch.equal(one.frames, other.frames)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    clips(0)[0]
    assert torch.equal(torch.get_rng_state(), before)


def test_clips_hold_what_they_promise(every):
    dataset = ClipDataset(every, CLIP, 0, 30)
    clips = [dataset[i] for i in range(30)]
    for clip in clips:
        assert clip.frames.shape == (3, 3, 64, 96) and clip.frames.dtype == torch.uint8
        assert clip.labels.shape == (3, 64, 96) and clip.labels.dtype == torch.uint8
        assert 0 in clip.prompted and set(clip.labels.unique().tolist()) <= set(range(len(clip.prompted) + 1))
        entered(clip)
    assert {len(clip.prompted) for clip in clips} == {1, 2}
    batch = collate(clips[:8])
    for prompted, clip in zip(batch.prompted.tolist(), clips, strict=False):
        assert prompted == [*clip.prompted.tolist(), 3][:2]


def entered(clip: Clip) -> None:
    """Every object is large enough in the frame of its prompt, and is in none before."""
    for i, prompted in enumerate(clip.prompted.tolist(), 1):
        assert (clip.labels[prompted] == i).sum() >= 100 and not (clip.labels[:prompted] == i).any()
        assert prompted < len(clip.labels) - 1


def test_objects_may_enter_and_leave_within_a_clip(tmp_path):
    """The first object is there throughout, the second leaves, the third enters."""
    masks = [squares(t, 1, *[2] * (t < 2), *[0] * (t >= 2), *[3] * (t >= 2)) for t in range(4)]
    youtube_vos(tmp_path, "train", {"v": masks}, {"v": {1: "dog", 2: "cat", 3: "cat"}})
    config = CLIP.model_copy(update={"length": 4, "objects": 3, "paste": 0.0})
    dataset = ClipDataset([(1.0, youtube_layout.sequences(tmp_path))], config, 0, 40)
    clips = [dataset[i] for i in range(40)]
    for clip in clips:
        entered(clip)
    whole = [clip for clip in clips if len(clip.prompted) == 3]
    assert {tuple(sorted(clip.prompted.tolist())) for clip in whole} == {(0, 0, 2)}
    for clip in whole:
        last = set(clip.labels[3].unique().tolist()) - {0}
        assert len(last) == 2 and int(clip.prompted.argmax()) + 1 in last


def test_a_sequence_shorter_than_a_clip_goes_there_and_back(tmp_path):
    youtube_vos(tmp_path, "train", {"v": [squares(t, 1, 2) for t in range(4)]}, {"v": {1: "dog", 2: "cat"}})
    config = CLIP.model_copy(update={"length": 7, "paste": 0.0})
    clip = ClipDataset([(1.0, youtube_layout.sequences(tmp_path))], config, 0, 1)[0]
    assert torch.equal(clip.frames, clip.frames.flip(0)) and torch.equal(clip.labels, clip.labels.flip(0))
    assert not torch.equal(clip.labels[0], clip.labels[3])


def changed(every: Any, **settings: Any) -> ClipDataset:
    return ClipDataset(every, CLIP.model_copy(update=settings), 0, 140)


def test_the_true_mask_is_propagated_after_its_share_of_the_frames(every):
    forced = [
        torch.stack([changed(every, teacher_forcing=share)[n].teacher_forcing for n in range(40)]).float().mean()
        for share in (0.0, 0.5, 1.0)
    ]
    assert forced[0] == 0 and forced[2] == 1 and 0.3 < forced[1] < 0.7


def test_flaws_follow_predictions_only(every):
    """Not the first frame, nor one that gives an object."""
    clips = [changed(every, flaws=1.0)[number] for number in range(100, 120)]
    assert all((clip.flaws == VOID).all() for clip in (changed(every)[number] for number in range(100, 110)))
    for clip in clips:
        assert clip.flaws.shape == (3, 16, 24) and (clip.flaws[0] == VOID).all()
        assert all((clip.flaws[t] == VOID).all() for t in clip.prompted.tolist())
        assert set(clip.flaws.unique().tolist()) <= {0, *range(1, len(clip.prompted) + 1), VOID}
    assert sum((clip.flaws != VOID).any().item() for clip in clips) > 15
    assert torch.equal(collate(clips[:2]).flaws[1], clips[1].flaws)


def test_rough_prompts_show_some_of_every_object(every):
    flawed = 0
    for number in range(100, 140):
        clip = changed(every, rough=1.0)[number]
        assert (clip.flaws[1:] == VOID).all()
        labels, sound = clip.labels[0, ::4, ::4], clip.flaws[0] == VOID
        for i in (i for i, entry in enumerate(clip.prompted.tolist(), 1) if not entry):
            assert ((labels == i) & sound).any()
        flawed += (~sound).any().item()
    assert flawed > 20


def test_clips_may_be_sharpened(every):
    def edges(clip: Clip) -> float:
        return clip.frames.float().diff(dim=-1).abs().mean().item()

    plain, sharp = (changed(every, sharpen=share) for share in (0.0, 1.0))
    for number in range(100, 105):
        one, other = plain[number], sharp[number]
        assert torch.equal(one.labels, other.labels) and edges(other) > 1.1 * edges(one)


def test_clips_have_trails(every):
    plain, smoky = (changed(every, trail=share, objects=1) for share in (0.0, 1.0))
    pairs = [(plain[number], smoky[number]) for number in range(100, 105)]
    assert sum(not torch.equal(one.frames, other.frames) for one, other in pairs) > 3


def test_intruders_come_in_after_the_first_frame_and_are_none_of_the_objects(every):
    plain, invaded = (changed(every, intruder=share, paste=0.0, teacher_forcing=0.0) for share in (0.0, 1.0))
    came = 0
    for number in range(100, 120):
        one, other = plain[number], invaded[number]
        assert torch.equal(one.frames[0], other.frames[0]) and torch.equal(one.labels[0], other.labels[0])
        assert ((one.labels == other.labels) | (other.labels == 0)).all()
        came += not torch.equal(one.frames, other.frames)
    assert came > 10


def test_intruders_come_in_apart_from_all_objects(every):
    """Else they would be parts that come into view."""
    layer = [(np.full((240, 360, 3), 100, np.uint8), np.zeros((240, 360), np.uint8)) for _ in range(CLIP.length)]
    for image, labels in layer:
        image[80:140, 60:120], labels[80:140, 60:120] = 200, 1
    came = 0
    for seed in range(40):
        clip = list(layer)
        changed(every)._intrude(clip, [1], np.random.default_rng(seed))
        differ = [(after[0] != was[0]).any(2) for after, was in zip(clip, layer, strict=True)]
        first = next((where for where in differ if where.any()), None)
        if first is not None:
            came += 1
            assert not differ[0].any() and not first[72:148, 52:128].any()
    assert came > 10


def test_clips_are_approached(every):
    plain, near = (changed(every, approach=share, objects=1) for share in (0.0, 1.0))
    pairs = [(plain[number], near[number]) for number in range(100, 105)]
    assert sum(not torch.equal(one.frames, other.frames) for one, other in pairs) > 3


def test_clips_have_turning_objects(every):
    plain, turned = (changed(every, turn=share, paste=0.0) for share in (0.0, 1.0))
    assert any(not torch.equal(plain[number].frames, turned[number].frames) for number in range(100, 105))


def test_clips_may_have_other_colours(every):
    plain, other = (changed(every, recolour=share) for share in (0.0, 1.0))
    for number in range(100, 105):
        assert torch.equal(plain[number].labels, other[number].labels)
    assert any(not torch.equal(plain[number].frames, other[number].frames) for number in range(100, 105))


def test_a_clip_drawn_in_this_process_leaves_its_threads_alone(every):
    """OpenCV's are of the whole process: whoever segments next would be slow."""
    cv2.setNumThreads(2)
    before = cv2.getNumThreads(), torch.get_num_threads()
    changed(every, flaws=1.0, trail=1.0, light=1.0, motion_blur=1.0)[3]
    assert (cv2.getNumThreads(), torch.get_num_threads()) == before
    cv2.setNumThreads(-1)


def test_a_file_that_cannot_be_read_costs_a_try_and_not_the_run(tiny_data, tmp_path):
    shutil.copytree(tiny_data / "davis2016", tmp_path / "davis2016")
    broken = tmp_path / "davis2016/JPEGImages/480p/a/00003.jpg"
    broken.write_bytes(broken.read_bytes()[:1500])  # its header is whole
    sound, odd = (
        ClipDataset([(1.0, davis.sequences(root, 2016, "train"))], CLIP.model_copy(update={"paste": 0.0}), 0, 20)
        for root in (tiny_data, tmp_path)
    )
    told = set()
    for number in range(20):
        clip, again = odd[number], odd[number]
        assert torch.equal(clip.frames, again.frames) and clip.unreadable == again.unreadable
        assert torch.equal(clip.frames, sound[number].frames) != bool(clip.unreadable)
        told.update(clip.unreadable)
    assert told == {f"{broken}: cannot be decoded as an image; copy the data again"}
    assert set(collate([odd[number] for number in range(20)]).unreadable) == told


def test_a_source_that_cannot_be_read_at_all_ends_in_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("stesa_cli.data.sampling.TRIES", 3)
    gone = VideoSequence("gone", (tmp_path / "gone.jpg",), (tmp_path / "gone.png",))
    with pytest.raises(InputError, match=r"no clip in 3 tries.*gone.jpg: cannot be decoded"):
        ClipDataset([(1.0, [gone])], CLIP, 0, 1)[0]


def test_data_without_objects_end_in_an_error(every, monkeypatch):
    monkeypatch.setattr("stesa_cli.data.sampling.MIN_AREA", 10_000)
    monkeypatch.setattr("stesa_cli.data.sampling.TRIES", 3)
    with pytest.raises(InputError, match="no clip in 3 tries"):
        ClipDataset(every, CLIP, 0, 10)[0]


def test_a_zoom_that_is_no_range_is_refused():
    with pytest.raises(ConfigError, match="zoom"):
        ClipConfig.parse({"zoom": (0.9, 0.3)})

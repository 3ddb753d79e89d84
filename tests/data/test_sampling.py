"""Clips: what they hold, what they are a function of, and how they change over a stage."""

import tomllib
from typing import Any

import numpy as np
import pytest
import torch

from stesa_cli.data import davis, stills
from stesa_cli.data.clip import collate
from stesa_cli.data.motion import moved, relit
from stesa_cli.data.sampling import ClipConfig, ClipDataset
from stesa_cli.errors import ConfigError, InputError

from ..recipes import TINY

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
        assert set(clip.labels[0].unique().tolist()) - {0} == set(range(1, clip.objects + 1))
        assert set(clip.labels.unique().tolist()) <= set(range(clip.objects + 1))
    assert {clip.objects for clip in clips} == {1, 2}
    batch = collate(clips[:8])
    assert batch.valid.sum(1).tolist() == [clip.objects for clip in clips[:8]]


def schedule(every: Any, **settings: Any) -> ClipDataset:
    return ClipDataset(every, CLIP.model_copy(update=settings), 0, 140, first=100)


def test_scheduled_sampling_goes_from_one_share_to_the_other(every):
    dataset = schedule(every, truth_fed=1.0, truth_fed_end=0.0)
    fed = [float(dataset[number].truth_fed.float().mean()) for number in range(100, 140)]
    assert fed[0] == 1 and np.mean(fed[:20]) > 0.6 and np.mean(fed[20:]) < 0.4


def test_gaps_grow_over_their_share_of_the_stage():
    config = ClipConfig(max_gap=5, growing_gaps=0.5)
    assert [config.at(progress).max_gap for progress in (0, 0.124, 0.125, 0.25, 0.49, 0.5, 1)] == [1, 1, 2, 3, 4, 5, 5]
    assert ClipConfig(max_gap=5).at(0) == ClipConfig(max_gap=5)


def test_settings_that_are_off_draw_no_random_numbers(every):
    """So that the clips of a recipe stay what they were when a setting is added."""
    plain = ClipDataset(every, CLIP, 0, 140)[107]
    clip = schedule(every, light=0.0, motion_blur=0.0, truth_fed_end=CLIP.truth_fed)[107]
    assert torch.equal(plain.frames, clip.frames) and torch.equal(plain.truth_fed, clip.truth_fed)


def test_light_changes_over_a_clip_and_masks_stay(every):
    still = (np.full((64, 96, 3), 100, np.uint8), np.eye(64, 96, dtype=np.uint8))
    lit = relit([still] * 4, np.random.default_rng(1))
    means = [image.mean() for image, _ in lit]
    assert means[0] == 100 and len(set(np.sign(np.diff(means)))) == 1 and abs(means[-1] - 100) > 10
    assert all((labels == still[1]).all() for _, labels in lit)


def test_motion_blur_smears_the_picture_and_not_the_mask():
    noise = np.random.default_rng(0).integers(0, 255, (320, 480, 3), np.uint8)
    layer = [(noise, np.eye(320, 480, dtype=np.uint8))] * 3
    sharp, smeared = (moved(layer, np.random.default_rng(2), True, blur=blur) for blur in (False, True))
    assert all((a[1] == b[1]).all() for a, b in zip(sharp, smeared, strict=True))
    assert smeared[1][0].std() < 0.9 * sharp[1][0].std()
    assert abs(smeared[1][0].mean() - sharp[1][0].mean()) < 2


def test_data_without_objects_end_in_an_error(every, monkeypatch):
    monkeypatch.setattr("stesa_cli.data.sampling.MIN_AREA", 10_000)
    monkeypatch.setattr("stesa_cli.data.sampling.TRIES", 3)
    with pytest.raises(InputError, match="no clip in 3 tries"):
        ClipDataset(every, CLIP, 0, 10)[0]


def test_a_zoom_that_is_no_range_is_refused():
    with pytest.raises(ConfigError, match="zoom"):
        ClipConfig.parse({"zoom": (0.9, 0.3)})

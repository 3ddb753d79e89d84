"""Synthetic motion, and the light, blur and smoke that come with it."""

from itertools import pairwise

import numpy as np

from stesa_cli.data.motion import approach, moved, relit, trail, turn


def test_light_changes_over_a_clip_and_masks_stay():
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


def test_a_trail_moves_with_its_object_and_is_no_part_of_it():
    """Of an object that moves by 20 pixels a frame: what is changed beside it moves alike, if it does not leave."""
    followed = []
    for seed in range(20):
        layer = [(np.full((240, 360, 3), 100, np.uint8), np.zeros((240, 360), np.uint8)) for _ in range(4)]
        for t, (image, labels) in enumerate(layer):
            image[80:160, 60 + 20 * t : 140 + 20 * t], labels[80:160, 60 + 20 * t : 140 + 20 * t] = 200, 1
        before = [(image.copy(), labels) for image, labels in layer]
        trail(layer, 1, np.random.default_rng(seed))
        assert all(after[1] is was[1] for after, was in zip(layer, before, strict=True))
        changed = [(a[0] != b[0]).any(2) & (b[1] == 0) for a, b in zip(layer, before, strict=True)]
        if all(
            where.sum() > 60 and not (where[0] | where[-1]).any() and not where[:, [0, -1]].any() for where in changed
        ):
            followed.append(np.diff([np.argwhere(where)[:, 1].mean() for where in changed]).mean())
    assert len(followed) > 3 and abs(np.mean(followed) - 20) < 6


def test_what_is_not_there_has_no_trail():
    still = (np.full((64, 96, 3), 100, np.uint8), np.zeros((64, 96), np.uint8))
    layer = [still] * 3
    trail(layer, 1, np.random.default_rng(0))
    assert all(image is still[0] and labels is still[1] for image, labels in layer)


def test_an_approached_object_grows_where_it_is():
    still = (np.full((240, 360, 3), 100, np.uint8), np.zeros((240, 360), np.uint8))
    still[1][100:130, 200:240] = 1
    near = 0
    for seed in range(20):
        layer = [still] * 4
        approach(layer, 1, np.random.default_rng(seed))
        areas = [int((labels == 1).sum()) for _, labels in layer]
        near += areas[-1] > areas[0]
        assert areas in (sorted(areas), sorted(areas, reverse=True)) and min(areas) == 30 * 40
        assert 1.3 < max(areas) / min(areas) < 7
        assert all(np.allclose(np.argwhere(labels == 1).mean(0), [114.5, 219.5], atol=1.5) for _, labels in layer)
    assert 8 < near < 20
    nothing = [(still[0], np.zeros_like(still[1]))]
    approach(nothing, 1, np.random.default_rng(0))
    assert nothing[0][0] is still[0]


def test_a_turning_object_shows_another_side_within_its_outline():
    labels = np.zeros((64, 96), np.uint8)
    labels[20:50, 30:80] = 1
    for seed in range(10):
        layer = [(np.full((64, 96, 3), 100, np.uint8), labels)] * 5
        turn(layer, 1, np.full((8, 8, 3), 200, np.uint8), np.random.default_rng(seed))
        new = [(image > 150).all(-1) for image, _ in layer]
        assert not new[0].any() and new[-1].sum() > 0.2 * labels.sum()
        assert all((before <= after).all() for before, after in pairwise(new))
        assert all(
            (mask == labels).all() and not seen[labels == 0].any() for seen, (_, mask) in zip(new, layer, strict=True)
        )

"""What clicks and boxes snap to."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from stesa_cli.masks import read_mask
from stesa_cli.studio.snapping import snap
from stesa_cli.video.reading import open_video

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture
def two() -> np.ndarray:
    """Two alike discs on a rough ground."""
    image = np.random.default_rng(0).integers(60, 90, (240, 427, 3)).astype(np.uint8)
    for x in (110, 310):
        cv2.circle(image, (x, 120), 60, (220, 90, 40), cv2.FILLED)
    return image


def disc(x: int) -> np.ndarray:
    return cv2.circle(np.zeros((240, 427), np.uint8), (x, 120), 60, 1, cv2.FILLED) > 0


def agreement(found: np.ndarray, truth: np.ndarray) -> float:
    return (found & truth).sum() / (found | truth).sum()


def test_a_click_finds_its_object_and_no_other_alike(two):
    assert agreement(snap(two, [(100, 115, True)]), disc(110)) > 0.95
    assert agreement(snap(two, [(100, 115, True), (320, 130, True)]), disc(110) | disc(310)) > 0.95


def test_what_a_click_excludes_is_left_out(two):
    cv2.circle(two, (225, 120), 60, (240, 200, 40), cv2.FILLED)  # of another colour, and touches both
    both = snap(two, [(100, 115, True), (230, 120, True)])
    assert both[120, 230] and both[120, 90]
    one = snap(two, [(100, 115, True), (230, 120, False), (330, 120, False)])
    assert agreement(one, disc(110) & ~disc(225)) > 0.9


def test_a_box_holds_all_that_is_found(two):
    found = snap(two, [], (40, 50, 140, 140))
    assert agreement(found, disc(110)) > 0.95 and not found[:, 182:].any()


@pytest.mark.parametrize("click", [(0, 0, True), (426.9, 239.9, True), (-3, 500, False), (200, 20, True)])
def test_any_click_has_an_answer(two, click):
    assert snap(two, [click]).shape == (240, 427)
    assert snap(two[:3, :5], [click], (1, 1, 2, 2)).shape == (3, 5)


@pytest.mark.parametrize(("i", "clicks"), [(1, 4), (2, 2)])
def test_few_clicks_find_the_objects_of_the_demo_at_once(i, clicks):
    from .test_browser import next_click

    with open_video(ASSETS / "demo.mp4") as frames:
        image = next(iter(frames)).image
    truth = read_mask(ASSETS / "demo.png") == i
    found, given = np.zeros_like(truth), []
    for _ in range(clicks):
        given.append(next_click(truth, found))
        begun = time.process_time()
        found = snap(image, given)
        assert time.process_time() - begun < 0.3
    assert agreement(found, truth) > 0.93

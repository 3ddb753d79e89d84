"""What clicks, scribbles and boxes find, and how they correct it."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from stesa_cli.inference.config import InferenceConfig
from stesa_cli.masks import read_mask
from stesa_cli.studio.marks import Asked, Mark
from stesa_cli.studio.snapping import Snapper
from stesa_cli.video.reading import Frame, open_video

from ..networks import tiny_weights

ASSETS = Path(__file__).parents[2] / "assets"


def mark(*points: tuple[float, float], plus: bool = True) -> Mark:
    return Mark(np.array(points, float), plus)


def disc(x: int, radius: int = 60) -> np.ndarray:
    return cv2.circle(np.zeros((240, 427), np.uint8), (x, 120), radius, 1, cv2.FILLED) > 0


def agreement(found: np.ndarray, truth: np.ndarray) -> float:
    return (found & truth).sum() / (found | truth).sum()


@pytest.fixture(scope="module")
def snapper() -> Snapper:
    return Snapper("stesa", InferenceConfig(), "cpu")


@pytest.fixture(scope="module")
def two() -> Frame:
    """Two alike discs on a rough ground."""
    image = np.random.default_rng(0).integers(60, 90, (240, 427, 3)).astype(np.uint8)
    for x in (110, 310):
        cv2.circle(image, (x, 120), 60, (220, 90, 40), cv2.FILLED)
    return Frame(image, 0, 0.0)


@pytest.fixture(scope="module")
def demo() -> Frame:
    with open_video(ASSETS / "demo.mp4") as frames:
        return Frame(next(iter(frames)).image, 1, 0.0)


def test_a_click_finds_its_object_and_no_other_alike(snapper, two):
    assert agreement(snapper.snap(two, Asked([mark((100, 115))])), disc(110)) > 0.9
    both = [mark((100, 115)), mark((320, 130))]
    assert agreement(snapper.snap(two, Asked(both, before=disc(110))), disc(110) | disc(310)) > 0.9


def test_a_scribble_is_all_of_the_object(snapper, two):
    found = snapper.snap(two, Asked([mark((100, 110), (215, 120), (320, 130))]))
    assert found[120, 110:311].all()
    crossed = snapper.snap(two, Asked([mark((100, 110)), mark((10, 10), (400, 10), plus=False)]))
    assert crossed[110, 100] and not crossed[10, 10:400].any()


def test_a_box_holds_all_that_is_found(snapper, two):
    found = snapper.snap(two, Asked([], (40, 50, 140, 140)))
    assert agreement(found, disc(110)) > 0.9 and not found[:, 182:].any()
    cut = snapper.snap(two, Asked([mark((110, 70), plus=False)], (40, 50, 140, 140), before=found))
    assert not cut[70, 110]


def test_a_mark_corrects_what_is_there_and_nothing_elsewhere(snapper, two):
    half = disc(110) & (np.arange(427) < 110) | disc(310, 40)
    added = snapper.snap(two, Asked([mark((140, 120))], before=half, corrects=True))
    assert agreement(added[:, :210], disc(110)[:, :210]) > 0.9
    assert (added[:, 230:] == half[:, 230:]).all()
    blob = disc(110) | disc(310)
    taken = snapper.snap(two, Asked([mark((310, 120), plus=False)], before=blob, corrects=True))
    assert not taken[:, 230:].any() and (taken[:, :200] == blob[:, :200]).all()


def test_a_network_that_knows_nothing_of_the_kind_takes_nothing_away(two, tmp_path):
    knows_nothing = Snapper(tiny_weights(tmp_path / "tiny.safetensors"), InferenceConfig(), "cpu")
    knows_nothing._recognised = lambda picture, asked, rough, times: np.zeros((240, 427), bool)  # type: ignore
    found = knows_nothing.snap(two, Asked([], (40, 50, 140, 140)))
    assert agreement(found, disc(110)) > 0.9


def test_nothing_is_found_where_only_others_are_marked(snapper, two):
    assert not snapper.snap(two, Asked([mark((100, 115), plus=False)])).any()


@pytest.mark.parametrize("place", [(0, 0), (426.9, 239.9), (-3, 500), (200, 20)])
def test_any_click_has_an_answer(snapper, two, place):
    assert snapper.snap(two, Asked([mark(place)])).shape == (240, 427)
    assert snapper.snap(two, Asked([mark(place)], before=disc(110), corrects=True)).shape == (240, 427)
    tiny = Frame(two.image[:3, :5], 2, 0.0)
    assert snapper.snap(tiny, Asked([mark(place)], (1, 1, 2, 2))).shape == (3, 5)


@pytest.mark.parametrize(("i", "clicks"), [(1, 4), (2, 2)])
def test_few_clicks_find_the_objects_of_the_demo_at_once(snapper, demo, i, clicks):
    from .test_browser import next_click

    truth = read_mask(ASSETS / "demo.png") == i
    found, given = np.zeros_like(truth), []
    snapper.prepare(demo)
    for _ in range(clicks):
        x, y, plus = next_click(truth, found)
        given.append(mark((x, y), plus=plus))
        begun = time.process_time()
        found = snapper.snap(demo, Asked(given, before=found if found.any() else None))
        assert time.process_time() - begun < 0.3
    assert agreement(found, truth) > 0.9


def test_a_click_mends_a_mask_of_the_demo(snapper, demo):
    truth = read_mask(ASSETS / "demo.png") == 1
    ys, xs = truth.nonzero()
    spoilt = truth.copy()
    spoilt[: int(np.quantile(ys, 0.4))] = False
    x, y = np.median(xs[ys < np.quantile(ys, 0.4)]), np.quantile(ys, 0.2)
    found = snapper.snap(demo, Asked([mark((x, y))], before=spoilt, corrects=True))
    assert agreement(found, truth) > agreement(spoilt, truth) + 0.15

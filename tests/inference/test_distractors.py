import cv2
import numpy as np
import pytest

from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.distractors import EDGE, REACH, strays, usual_area
from stesa_cli.inference.segmenter import Segmenter

HEIGHT, WIDTH = 200, 300
REACHED = round(REACH * HEIGHT)
AREA = 40.0 * 50
STILL = np.zeros((1, 1), np.float32)


def box(top: int, left: int, height: int = 40, width: int = 50) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_a_look_alike_that_comes_in_apart_from_the_object_is_a_stray_with_its_soft_edge():
    last, now, other = box(60, 60), box(62, 66), box(20, 220)
    found = strays(np.logical_or(now, other), last, AREA, STILL)
    assert (found == (box(20 - EDGE, 220 - EDGE, 40 + 2 * EDGE, 50 + 2 * EDGE))).all()


@pytest.mark.parametrize("gap", [0, 1, REACHED - 1])
def test_what_appears_near_the_object_is_its_own(gap):
    last = box(60, 60)
    assert not strays(np.logical_or(last, box(60, 110 + gap)), last, AREA, STILL).any()


def test_what_appears_beyond_its_reach_is_not():
    last = box(60, 60)
    found = strays(np.logical_or(last, box(60, 110 + REACHED)), last, AREA, STILL)
    assert found[:, 110 + REACHED : 160 + REACHED].any() and not found[last].any()


def test_an_object_that_moved_far_or_was_hidden_is_kept():
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    half = box(60, 60, 40, 25)
    for mask, last in (
        (box(20, 220), box(60, 60)),  # moved
        (np.logical_or(half, box(60, 120, 40, 25)), half),  # seen on both sides of a post
        (box(20, 220), nothing),  # back again
        (nothing, box(60, 60)),
    ):
        assert not strays(mask, last, AREA, STILL).any()


@pytest.mark.parametrize(("ours", "theirs", "taken"), [(5, 0, False), (5, 1, False), (5, 2, True), (1, 0, True)])
def test_what_is_left_behind_is_not_taken(ours, theirs, taken):
    last, other = box(60, 60), box(60, 115, 20, 20)
    moved = np.float32(ours * box(60, 60) + theirs * box(50, 115))
    found = strays(np.logical_or(last, other), np.logical_or(last, other), AREA, moved)
    assert found[other].any() != taken and not found[last].any()


def test_what_was_taken_for_a_part_of_the_object_is_let_go_when_left_behind():
    last, smoke = box(60, 60), box(50, 115, 60, 30)
    both = np.logical_or(last, smoke)
    found = strays(both, both, AREA + 60 * 30, np.float32(5 * last))
    assert found[smoke].all() and not found[last].any()


def test_what_seems_to_stand_still_is_kept_where_some_of_the_object_is_hidden():
    half, other = box(60, 60, 40, 30), box(60, 100, 40, 9)  # the post between them stands, and blurs the flow
    both = np.logical_or(half, other)
    assert not strays(both, both, AREA, np.float32(5 * half)).any()


def test_a_larger_look_alike_does_not_take_the_place_of_the_object():
    last, other = box(60, 60), box(10, 150, 150, 100)
    found = strays(np.logical_or(last, other), last, AREA, np.float32(9 * other))
    assert found[other].all() and not found[last].any()


def test_nothing_of_an_object_given_in_several_parts_is_a_stray():
    person, bag = box(60, 60), box(140, 200, 10, 15)
    assert usual_area(person) == AREA == usual_area(np.logical_or(person, box(140, 200, 5, 5))) - 25
    usual = usual_area(np.logical_or(person, bag))
    assert not strays(np.logical_or(person, bag), person, usual, np.float32(5 * person)).any()
    assert usual_area(np.zeros_like(person)) == 0


def test_the_segmenter_takes_no_look_alike_that_comes_in_elsewhere(device):
    random = np.random.default_rng(0)
    image = cv2.GaussianBlur(random.integers(60, 200, (192, 320, 3), np.uint8), (0, 0), 6)
    thing = cv2.resize(random.integers(0, 255, (6, 6, 3), np.uint8), (56, 48), interpolation=cv2.INTER_CUBIC)
    labels, place, other = np.zeros((192, 320), np.uint8), np.s_[70:118, 50:106], np.s_[40:88, 210:266]
    image[place], labels[place] = thing, 1
    both = image.copy()
    both[other] = thing

    def taken(suppress: bool) -> list[float]:
        config = InferenceConfig(size=192, precision="fp32", suppress_distractors=suppress)
        segmenter = Segmenter.load("stesa", config, device)
        segmenter.start(image, labels)
        last = [segmenter.step(frame).labels for frame in (image, both, both)][-1]
        return [float((last[at] == 1).mean()) for at in (place, other)]

    assert taken(True) == pytest.approx([1, 0], abs=0.1)
    assert taken(False) == pytest.approx([1, 1], abs=0.3)  # else the picture would show nothing

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stesa_cli.metrics.region import region_similarity

IDS = [1, 2]


@st.composite
def label_maps(draw, count, values=(0, 1, 2)):
    """``count`` label maps of one shape."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=8))
    return [draw(arrays(np.uint8, shape, elements=st.sampled_from(values))) for _ in range(count)]


@given(label_maps(1))
def test_a_mask_equals_itself(maps):
    assert region_similarity(maps[0], maps[0], IDS).tolist() == [1, 1]


@given(label_maps(2))
def test_symmetric(maps):
    a, b = maps
    assert region_similarity(a, b, IDS).tolist() == region_similarity(b, a, IDS).tolist()


@given(label_maps(2, values=(0, 1, 2, 255)))
def test_void_is_in_neither_mask(maps):
    truth, predicted = maps
    elsewhere = np.where(truth == 255, 2, predicted).astype(np.uint8)
    assert region_similarity(truth, predicted, IDS).tolist() == region_similarity(truth, elsewhere, IDS).tolist()


@given(label_maps(1))
def test_disjoint_masks_share_nothing(maps):
    truth, predicted = maps[0], np.array([0, 2, 1], np.uint8)[maps[0]]
    expected = [0.0 if maps[0].any() else 1.0] * 2
    assert region_similarity(truth, predicted, IDS).tolist() == expected


def test_by_hand():
    truth = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 255]], np.uint8)
    predicted = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 2, 2], [0, 2, 2, 2]], np.uint8)
    # Object 1: 2 of 6 pixels shared. Object 2: 3 of 4, the corner is void. Object 3: empty in both.
    assert region_similarity(truth, predicted, [1, 2, 3]).tolist() == [2 / 6, 3 / 4, 1]
    assert region_similarity(truth, predicted, []).shape == (0,)

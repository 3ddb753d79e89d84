import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stesa_cli.metrics.boundary import contour_accuracy

from . import reference


@st.composite
def frames(draw):
    """A truth and a prediction, label maps of one shape: sparse noise, or blocks that may touch or fill the border.
    Shapes are long, so that the tolerance reaches several pixels while the maps stay small."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 700)))
    noise = arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255]), fill=st.just(0))
    return [draw(noise | blocks(shape)) for _ in range(2)]


@st.composite
def blocks(draw, shape):
    labels = np.zeros(shape, np.uint8)
    for i in draw(st.lists(st.sampled_from([0, 1, 2, 255]), max_size=6)):
        (top, bottom), (left, right) = (sorted(draw(st.tuples(*[st.integers(0, n)] * 2))) for n in shape)
        labels[top:bottom, left:right] = i
    return labels


@given(frames())
def test_equals_the_definition_to_the_last_bit(maps):
    truth, predicted = maps
    expected = [reference.contour_accuracy(truth == i, (predicted == i) & (truth != 255)) for i in (1, 2)]
    assert contour_accuracy(truth, predicted, [1, 2]).tolist() == expected


@pytest.mark.parametrize("size", [(480, 854), (240, 432), (1, 1), (750, 1000)])  # 750 × 1000: exactly 10 pixels
def test_equals_the_definition_at_video_sizes(size):
    y, x = np.mgrid[: size[0], : size[1]]
    rng = np.random.default_rng(0)

    def ellipse(grow):
        centre, radii = rng.uniform(0.3, 0.7, 2) * size, grow * rng.uniform(0.1, 0.4, 2) * size
        return (((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1).astype(np.uint8)

    for grow in (0.1, 1, 2):
        truth, predicted = ellipse(grow), ellipse(grow)
        expected = reference.contour_accuracy(truth == 1, predicted == 1)
        assert contour_accuracy(truth, predicted, [1]).tolist() == [expected]


@given(frames())
def test_symmetric_without_void(maps):
    a, b = (np.where(labels == 255, 0, labels) for labels in maps)
    assert contour_accuracy(a, b, [1, 2]).tolist() == contour_accuracy(b, a, [1, 2]).tolist()
    assert contour_accuracy(a, a, [1, 2]).tolist() == [1, 1]


def test_by_hand():
    square, empty = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    square[1:3, 1:3] = 1
    corner = np.zeros((4, 4), np.uint8)
    corner[3, 3] = 1
    # The tolerance is one pixel, so the disk is a plus. The outline of ``square`` is the ring of 8 around (1, 1), that
    # of ``corner`` is (2, 2), (2, 3), (3, 2). All these 3 lie on or beside the ring; of the ring only (2, 2), (1, 2)
    # and (2, 1) lie on or beside them: precision 3/3, recall 3/8.
    assert reference.outline(square == 1).sum() == 8 and reference.outline(corner == 1).sum() == 3
    assert contour_accuracy(square, corner, [1])[0] == pytest.approx(2 * (3 / 8) / (1 + 3 / 8))
    assert contour_accuracy(square, empty, [1]) == contour_accuracy(empty, square, [1]) == 0
    assert contour_accuracy(empty, empty, [1]) == contour_accuracy(empty + 1, empty + 1, [1]) == 1
    assert contour_accuracy(empty + 1, empty, [1]) == 1  # neither has an outline: the benchmark's rule, J is 0

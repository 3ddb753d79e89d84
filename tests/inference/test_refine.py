import numpy as np
from numpy.testing import assert_allclose

from stesa_cli.inference.refine import RADIUS, SMOOTH, sharpened


def test_a_coarse_mask_takes_the_edge_of_the_picture():
    truth = np.zeros((240, 320), bool)
    truth[61:170, 83:251] = True
    image = np.where(truth[..., None], (200, 60, 40), (30, 120, 160)).astype(np.uint8)
    coarse = np.zeros((60, 80), np.float32)
    coarse[15:43, 21:63] = 1  # the nearest in steps of four pixels, a step too far to the right
    (mask,) = sharpened(coarse[None], image)
    assert mask.dtype == np.float32 and mask.min() >= 0 and mask.max() <= 1
    enlarged = np.kron(coarse, np.ones((4, 4))) > 0.5
    assert ((mask > 0.5) != truth).mean() < 0.1 * (enlarged != truth).mean()


def test_each_mask_is_the_linear_function_of_the_colours_that_fits_best():
    """Against least squares, written out, at one pixel whose neighbours' neighbourhoods are all the same."""
    random = np.random.default_rng(0)
    side = 2 * RADIUS + 1
    patch = random.integers(0, 256, (side, side, 3), np.uint8)
    values = random.random((side, side), np.float32)
    # a neighbourhood holds each pixel of a pattern of its size once, wherever it lies
    image, mask = np.tile(patch, (6, 6, 1)), np.tile(values, (6, 6))
    colours = np.c_[patch.reshape(-1, 3) / 255, np.ones(side**2)]
    ridge = np.diag([SMOOTH * side**2] * 3 + [0])
    line = np.linalg.solve(colours.T @ colours + ridge, colours.T @ values.ravel())
    expected = (colours @ line).clip(0, 1).reshape(side, side)
    found = sharpened(mask[None], image)[0, 3 * side : 4 * side, 3 * side : 4 * side]
    assert_allclose(found, expected, atol=1e-4)


def test_a_flat_picture_leaves_the_mask_smooth_and_no_mask_is_none():
    flat = np.full((90, 130, 3), 77, np.uint8)
    assert_allclose(sharpened(np.full((1, 45, 65), 0.25, np.float32), flat), 0.25, atol=1e-5)
    assert sharpened(np.zeros((0, 45, 65), np.float32), flat).shape == (0, 90, 130)

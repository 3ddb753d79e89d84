import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from stesa_cli.inference import refine
from stesa_cli.inference.refine import RADIUS, SMOOTH, Part, assembled, guided_upsampling


def refined(masks: np.ndarray, image: np.ndarray, device: str) -> list[Part]:
    colours = cv2.resize(image.astype(np.float32) / 255, masks.shape[:0:-1], interpolation=cv2.INTER_AREA)
    given = masks, np.ascontiguousarray(colours.transpose(2, 0, 1)), image
    return guided_upsampling(*(torch.from_numpy(each).to(device) for each in given))


def sharpened(masks: np.ndarray, image: np.ndarray, device: str) -> np.ndarray:
    """Masks (O, h, w) and an image (H, W, 3) uint8 RGB -> (O, H, W)."""
    parts = refined(masks, image, device)
    return assembled(parts, torch.zeros(len(masks), *image.shape[:2], device=device)).cpu().numpy()


def test_a_coarse_mask_takes_the_edge_of_the_picture(device):
    truth = np.zeros((240, 320), bool)
    truth[61:170, 83:251] = True
    image = np.where(truth[..., None], (200, 60, 40), (30, 120, 160)).astype(np.uint8)
    coarse = np.zeros((60, 80), np.float32)
    coarse[15:43, 21:63] = 1  # the nearest in steps of four pixels, a step too far to the right
    (mask,) = sharpened(coarse[None], image, device)
    assert mask.dtype == np.float32 and mask.min() >= 0 and mask.max() <= 1
    enlarged = np.kron(coarse, np.ones((4, 4))) > 0.5
    assert ((mask > 0.5) != truth).mean() < 0.1 * (enlarged != truth).mean()


def test_each_mask_is_the_linear_function_of_the_colours_that_fits_best(device):
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
    found = sharpened(mask[None], image, device)[0, 3 * side : 4 * side, 3 * side : 4 * side]
    assert_allclose(found, expected, atol=1e-4)


def test_a_flat_picture_leaves_the_mask_smooth_and_no_mask_is_none(device):
    flat = np.full((90, 130, 3), 77, np.uint8)
    assert_allclose(sharpened(np.full((1, 45, 65), 0.25, np.float32), flat, device), 0.25, atol=1e-5)
    assert sharpened(np.zeros((0, 45, 65), np.float32), flat, device).shape == (0, 90, 130)


def reference(masks: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The same in OpenCV, as version 0.1 had it."""
    full, size = image.astype(np.float32) / 255, (2 * RADIUS + 1, 2 * RADIUS + 1)
    small = cv2.resize(full, masks.shape[:0:-1], interpolation=cv2.INTER_AREA)

    def mean(maps: np.ndarray) -> np.ndarray:
        return cv2.blur(maps, size, borderType=cv2.BORDER_REPLICATE)

    pairs = mean((small[..., None] * small[..., None, :]).reshape(*small.shape[:2], 9)).reshape(*small.shape, 3)
    covariance = pairs - mean(small)[..., None] * mean(small)[..., None, :] + SMOOTH * np.eye(3)
    result = []
    for mask in masks:
        both = mean(small * mask[..., None]) - mean(small) * mean(mask)[..., None]
        slopes = np.linalg.solve(covariance, both[..., None])[..., 0]
        line = np.dstack([slopes, mean(mask) - (slopes * mean(small)).sum(2)]).astype(np.float32)
        line = cv2.resize(mean(line), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        result.append(((line[..., :3] * full).sum(2) + line[..., 3]).clip(0, 1))
    return np.stack(result)


@pytest.mark.parametrize("on_host", [None, False])
@pytest.mark.parametrize("size", [(60, 112), (96, 170), (128, 240)], ids=str)
def test_it_is_what_opencv_makes_of_it(device, size, on_host, monkeypatch):
    """Also where the mask is nearly as large as the picture, or larger, and where sizes do not divide; and so is what a
    GPU would do."""
    if on_host is not None:
        monkeypatch.setattr(refine, "_on_host", lambda tensor: on_host)
    random = np.random.default_rng(0)
    image = cv2.GaussianBlur(random.integers(0, 256, (97, 171, 3), np.uint8), (0, 0), 2)
    masks = cv2.GaussianBlur((random.random((*size, 2)) > 0.6).astype(np.float32), (0, 0), 3).transpose(2, 0, 1)
    found = sharpened(np.ascontiguousarray(masks), image, device)
    assert np.abs(found - reference(masks, image)).max() < 1 / 255


def test_a_mask_is_refined_only_where_it_is(device):
    """Each in a part of its own, to the same as all together; and a mask of nothing not at all."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (240, 427, 3), np.uint8)
    masks = np.zeros((3, 128, 224), np.float32)
    masks[0, 20:50, 5:40], masks[2, 90:128, 200:224] = random.random((30, 35)), random.random((38, 24))
    parts = refined(masks, image, device)
    if device == "cpu":
        assert [(part.first, part.masks.shape) for part in parts] == [(0, (1, 83, 90)), (2, (1, 85, 60))]
    found = assembled(parts, torch.zeros(3, 240, 427, device=device)).cpu().numpy()
    assert np.abs(found - reference(masks, image)).max() < 1 / 255 and not found[1].any()

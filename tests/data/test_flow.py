import cv2
import numpy as np
import torch

from stesa_cli.data.flow import LINES, clip_flow, grey, optical_flow
from tests.networks import tiny_network

NOISE = np.random.default_rng(0).random((160, 240, 3), np.float32)
PICTURE = (cv2.GaussianBlur(NOISE, (0, 0), 3) * 3 - 1).clip(0, 1) * 255
PICTURE = PICTURE.round().astype(np.uint8)


def part(top: int, left: int) -> np.ndarray:
    """A part (96, 128) uint8 of the picture in grey."""
    return grey(PICTURE[top : top + 96, left : left + 128], (96, 128))


def test_the_flow_says_where_each_pixel_was():
    flow = optical_flow(part(20, 30), part(24, 38))
    assert flow.shape == (3, 48, 64) and flow.dtype == np.float32
    x, y, error = flow[:, 8:-8, 8:-8]
    assert abs(np.median(x * 128 + 8)) < 0.25 and abs(np.median(y * 96 + 4)) < 0.25
    unexplained = np.abs(part(20, 30).astype(float) - part(24, 38)).mean() / 255
    assert error.mean() < 0.2 * unexplained
    still = optical_flow(part(20, 30), part(20, 30))
    assert np.abs(still[:2]).max() < 0.01 and still[2].max() < 0.02


def test_large_frames_are_compared_reduced_and_small_ones_as_the_network_sees_them():
    image = np.full((720, 1280, 3), 255, np.uint8)
    assert grey(image, (480, 864)).shape == (LINES, 648) and grey(image, (480, 864)).min() == 255
    assert grey(image, (256, 448)).shape == (256, 448)
    assert grey(image[:90, :160], (192, 320)).shape == (192, 320)
    assert (grey(cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY), (80, 120)) == grey(PICTURE, (80, 120))).all()


def test_a_clip_has_the_flow_of_each_frame_to_the_one_before():
    shown = np.stack([PICTURE[20 - 4 * t :, 30 - 8 * t :][:96, :128] for t in range(3)])
    flow = clip_flow(torch.from_numpy(shown).permute(0, 3, 1, 2))
    assert flow.shape == (2, 3, 48, 64) and flow.dtype == torch.float32
    assert torch.equal(flow[0], torch.from_numpy(optical_flow(part(16, 22), part(20, 30))))


def test_a_shifted_frame_finds_its_states_there():
    """Twice the same frame, or the frame shifted: its masks are warped there."""
    network = tiny_network().eval()
    big = cv2.resize(PICTURE, (960, 640))
    masks = torch.zeros(1, 1, 128, 192)
    masks[:, :, 40:80, 60:120] = 1
    frame, found = torch.rand(1, 3, 256, 384), []
    _, state = network.start(network.encode(frame), masks)
    for shift in (0, 32):
        now, before = (grey(big[100:356, left : left + 384], (256, 384)) for left in (100 - shift, 100))
        flow = torch.from_numpy(optical_flow(now, before))[None]
        _, decoded = network.decode(network.encode(frame), state, flow)
        found.append(decoded.masks[..., 20:100, 40 + shift // 2 : 140 + shift // 2])
    torch.testing.assert_close(found[0], masks[..., 20:100, 40:140], atol=0.02, rtol=0)
    assert (found[0] - found[1]).abs().mean() < 0.02

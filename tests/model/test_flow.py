import cv2
import numpy as np
import torch

from stesa_cli.model.flow import LINES, backward_flow, grey
from stesa_cli.model.state import State
from tests.networks import tiny_network

NOISE = np.random.default_rng(0).random((160, 240, 3), np.float32)
PICTURE = torch.from_numpy(cv2.GaussianBlur(NOISE, (0, 0), 3) * 3 - 1).clamp(0, 1).permute(2, 0, 1)


def part(top: int, left: int) -> torch.Tensor:
    """A part (1, 3, 96, 128) of the picture."""
    return PICTURE[None, :, top : top + 96, left : left + 128]


def test_the_flow_says_where_each_pixel_was():
    frames = torch.cat([part(20, 30), part(20, 30)]), torch.cat([part(24, 38), part(20, 30)])
    flow = backward_flow(*map(grey, frames))
    assert flow.shift.shape == (2, 2, 96, 128) and flow.error.shape == (2, 1, 96, 128)
    inner = flow.shift[0, :, 16:-16, 16:-16]
    assert (inner[0] * 128 + 8).abs().median() < 0.25 and (inner[1] * 96 + 4).abs().median() < 0.25
    assert flow.shift[1].abs().max() < 0.01
    unexplained = (grey(frames[0])[0].float() - grey(frames[1])[0].float()).abs().mean() / 255
    assert flow.error[0, :, 16:-16, 16:-16].mean() < 0.2 * unexplained and flow.error[1].max() < 0.02


def test_large_frames_are_compared_reduced():
    assert grey(torch.rand(2, 3, 96, 128)).shape == (2, 96, 128)
    assert grey(torch.ones(1, 3, 720, 1280)).shape == (1, LINES, 640)
    assert grey(torch.ones(1, 3, 32, 32)).max() == 255 and grey(torch.ones(1, 3, 32, 32)).dtype == torch.uint8


def test_states_are_carried_along():
    masks = torch.rand(1, 2, 48, 64)
    hidden = [[torch.rand(1, 3, side * 3, side * 4) for _ in range(2)] for side in (3, 6, 12, 24)]
    state = State(masks, torch.ones(1, 2, dtype=torch.bool), hidden)
    moved = state.carried(torch.tensor([0.25, -0.5]).view(1, 2, 1, 1).expand(-1, -1, 96, 128))
    torch.testing.assert_close(moved.masks[:, :, 24:, :48], masks[:, :, :24, 16:])
    assert torch.equal(moved.masks[:, :, :24], moved.masks[:, :, :1].expand(-1, -1, 24, -1))  # beside it, its edge
    for level, other in zip(hidden[1:], moved.hidden[1:], strict=True):
        height, width = level[1].shape[2] // 2, level[1].shape[3] // 4
        torch.testing.assert_close(other[1][:, :, height:, :-width], level[1][:, :, :height, width:])


def test_a_shifted_frame_finds_its_states_there():
    """Twice the same frame, or the frame shifted: its masks are carried there."""
    network = tiny_network().eval()
    big = torch.from_numpy(cv2.resize(PICTURE.permute(1, 2, 0).numpy(), (960, 640))).permute(2, 0, 1)[None]
    masks = torch.zeros(1, 1, 128, 192)
    masks[:, :, 40:80, 60:120] = 1
    found = []
    for shift in (0, 32):
        _, state = network.start(network.encode(big[:, :, 100:356, 100:484]), masks)
        seen = network.encode(big[:, :, 100:356, 100 - shift : 484 - shift])
        carried = state.carried(network.flow(seen, state).shift).masks
        found.append(carried[..., 20:100, 40 + shift // 2 : 140 + shift // 2])
    torch.testing.assert_close(found[0], masks[..., 20:100, 40:140], atol=0.02, rtol=0)
    assert (found[0] - found[1]).abs().mean() < 0.02

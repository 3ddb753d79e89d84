import torch
import torch.nn.functional as F

from stesa_cli.model.state import State


def test_states_are_warped_along_the_flow():
    masks = torch.rand(1, 2, 48, 64)
    hidden = [[torch.rand(1, 3, side * 3, side * 4) for _ in range(2)] for side in (3, 6, 12, 24)]
    state = State(masks, torch.ones(1, 2, dtype=torch.bool), masks.sum(1, keepdim=True), hidden)
    warped = state.warped(torch.tensor([0.25, -0.5]).view(1, 2, 1, 1).expand(-1, -1, 96, 128))
    torch.testing.assert_close(warped.masks[:, :, 24:, :48], masks[:, :, :24, 16:])
    torch.testing.assert_close(warped.present, warped.masks.sum(1, keepdim=True))
    for level, other in zip(hidden[1:], warped.hidden[1:], strict=True):
        height, width = level[1].shape[2] // 2, level[1].shape[3] // 4
        torch.testing.assert_close(other[1][:, :, height:, :-width], level[1][:, :, :height, width:])


def test_beyond_the_edge_is_the_edge(monkeypatch):
    """As grid_sample's padding_mode="border" has it, which is not asked for: not every device has it."""
    masks, flow = torch.rand(1, 2, 24, 32), 1.5 * torch.randn(1, 2, 12, 16)
    shift = F.interpolate(flow, size=(24, 32), mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    places = F.affine_grid(torch.eye(2, 3)[None], [1, 1, 24, 32], align_corners=False) + 2 * shift
    expected = F.grid_sample(masks, places, padding_mode="border", align_corners=False)
    sample = F.grid_sample

    def plain(*arguments, padding_mode="zeros", **options):
        assert padding_mode == "zeros"
        return sample(*arguments, **options)

    monkeypatch.setattr(F, "grid_sample", plain)
    state = State(masks, torch.ones(1, 2, dtype=torch.bool), masks[:, :1])
    torch.testing.assert_close(state.warped(flow).masks, expected, atol=1e-5, rtol=1e-4)

import pytest
import torch

from stesa_cli.model.motion import CUES, MotionPyramid, relative_motion
from stesa_cli.model.network import ModelConfig, Network
from tests.networks import MODEL, tiny_network

Y, X = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 128), indexing="ij")
CAMERA = torch.stack([0.01 + 0.02 * X, 0.005 - 0.01 * Y])  # in widths and heights


def scene(height: int = 96, width: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """A camera that pans and zooms; on the left a thing that moves, half of which the mask holds; another on the right
    that moves otherwise."""
    shift = CAMERA.clone()
    shift[:, 20:60, 16:48] += torch.tensor([0.03, 0.02]).view(2, 1, 1)
    shift[:, 20:60, 90:110] -= torch.tensor([0.05, 0.0]).view(2, 1, 1)
    masks = torch.zeros(1, 2, height, width)
    masks[0, 0, height * 20 // 96 : height * 60 // 96, width * 16 // 128 : width * 32 // 128] = 1
    return torch.cat([shift, torch.full((1, 96, 128), 0.5)])[None], masks


def cues_of(flow: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    return relative_motion(flow, masks, masks.sum(1, keepdim=True))


@pytest.mark.parametrize("scale", [2, 4])
def test_what_moves_with_an_object_is_told_from_the_background(scale):
    flow, masks = scene(96 * scale, 128 * scale)
    cues = cues_of(flow, masks)
    assert cues.shape == (1, 2, CUES, 24 * scale, 32 * scale) and cues.dtype == torch.float32
    from_background, from_object, error, mask, away = cues[0, 0]

    def of(cue: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
        return cue[rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]

    background, held, unheld = (
        (slice(18, 23), slice(2, 30)),
        (slice(6, 14), slice(5, 7)),
        (slice(6, 14), slice(9, 11)),
    )
    assert of(from_background, *background).max() < 0.3 and of(from_object, *background).min() > 2
    expected = (torch.tensor([0.03 * 128 / 96, 0.02]).norm() * 480).log1p()
    for part in (held, unheld):
        torch.testing.assert_close(of(from_background, *part).mean(), expected, atol=0.05, rtol=0)
        assert of(from_object, *part).max() < 0.8
    assert of(from_object, slice(6, 14), slice(24, 26)).min() > 3  # the other thing
    assert torch.equal(mask, torch.nn.functional.avg_pool2d(masks, 4)[0, 0]) and (error == 0.5).all()
    assert of(away, slice(9, 11), slice(5, 7)).max() < 0.3 and of(away, slice(0, 24), slice(28, 32)).min() > 0.7
    assert (cues[0, 1, -1] == 1).all()  # nowhere, so far from everywhere


def test_a_frame_without_background_or_object_has_cues_too():
    flow, masks = scene()
    for value in (0, 1):
        assert cues_of(flow, masks.fill_(value)).isfinite().all()


def test_masks_are_given_no_gradient():
    flow, masks = scene()
    assert not cues_of(flow, masks.requires_grad_()).requires_grad


def test_a_new_pyramid_adds_nothing_and_a_trained_one_something():
    network, frames = tiny_network().eval(), torch.rand(1, 3, 3, 64, 96)
    masks = (torch.rand(1, 3, 2, 64, 96) > 0.5).float()
    clip = frames, masks, torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 3, dtype=torch.bool)
    clip = *clip, 0.1 * torch.randn(1, 2, 3, 32, 48)
    without = Network(MODEL.model_copy(update={"motion": 0})).eval()
    without.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("motion.")})
    for found, expected in zip(network(*clip), without(*clip), strict=True):
        assert torch.equal(found.logits, expected.logits)
        assert found.auxiliary[0].shape == (1, 2, 8, 12) and not expected.auxiliary
    for skip in network.motion.skips:
        torch.nn.init.normal_(skip.weight)
    assert all((a.logits != b.logits).any() for a, b in zip(network(*clip), without(*clip), strict=True))


def test_the_pyramid_fits_the_coarsest_skips():
    added, logits = MotionPyramid(4, (9, 8, 7, 6))(torch.rand(2, 3, CUES, 12, 16))
    assert [tuple(level.shape) for level in added] == [(2, 3, 9, 3, 4), (2, 3, 8, 6, 8), (2, 3, 7, 12, 16)]
    assert logits.shape == (2, 3, 12, 16)


def test_motion_has_its_own_loss_and_needs_flow():
    for changes in ({"flow": False}, {"auxiliary": True, "nlb": "res3"}):
        with pytest.raises(ValueError, match="motion"):
            ModelConfig.model_validate(MODEL.model_dump(exclude={"pairwise"}) | changes)


def test_an_object_of_another_group_is_no_background():
    """The camera stands still; most of the frame is another object, which moves."""
    flow, masks = torch.zeros(1, 3, 96, 128), torch.zeros(1, 1, 96, 128)
    flow[:, 0, :, 40:] = 0.05
    masks[..., 30:60, 5:25] = 1
    other = torch.zeros(1, 1, 96, 128)
    other[..., 40:] = 1
    moved = relative_motion(flow, masks, masks + other)[0, 0, 0]
    assert moved[:, :8].max() < 0.3 and moved[:, 12:].min() > 2
    assert relative_motion(flow, masks, masks)[0, 0, 0, :, :8].mean() > 0.5

import cv2
import numpy as np
import torch

from stesa_cli.inference import finetune as adaptation
from stesa_cli.inference.finetune import SHARE, _part, adapt

from ..networks import tiny_network


def test_adapted_weights_are_a_mean_with_those_before(monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    labels = np.zeros((64, 96), np.uint8)
    labels[10:40, 20:60] = 1
    monkeypatch.setattr(adaptation, "STEPS", 2)

    def adapted(share: float) -> dict[str, torch.Tensor]:
        monkeypatch.setattr(adaptation, "SHARE", share)
        network = tiny_network().eval()
        assert adapt(network, image, labels, seconds=1e6, precision="fp32") == 2
        return network.state_dict()

    before, whole, shipped = tiny_network().state_dict(), adapted(1.0), adapted(SHARE)
    assert any(not torch.equal(whole[name], before[name]) for name in before)
    for name, weight in shipped.items():
        torch.testing.assert_close(
            weight, torch.lerp(before[name].float(), whole[name].float(), SHARE).to(weight.dtype)
        )


def test_a_part_of_the_frame_shows_the_object_at_up_to_five_times_its_size():
    labels = np.zeros((256, 448), np.uint8)
    labels[100:140, 200:260], labels[10:50, 20:60] = 7, 9
    image, heights = np.repeat(10 * labels[..., None], 3, 2), []
    for seed in range(60):
        shown, mask = _part(image, labels, 7, np.random.default_rng(seed))
        assert shown.shape == (256, 448, 3) and (mask == 7).any()
        assert ((abs(shown[..., 0] - 70.0) < 10) ^ (mask == 7)).mean() < 0.02
        heights.append(cv2.boundingRect((mask == 7).view(np.uint8))[3])
    assert 40 <= min(heights) < 50 and 150 < max(heights) <= 201

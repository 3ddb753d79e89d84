import time

import cv2
import numpy as np
import torch

from stesa_cli.inference import finetune as finetuning
from stesa_cli.inference.finetune import SHARE, _part, finetune

from ..networks import tiny_network


def test_finetuned_weights_are_a_mean_with_those_before(monkeypatch, device):
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    labels = np.zeros((64, 96), np.uint8)
    labels[10:40, 20:60] = 1
    monkeypatch.setattr(finetuning, "STEPS", 2)
    network = tiny_network().eval().to(device)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}

    def finetuned(share: float) -> dict[str, torch.Tensor]:
        monkeypatch.setattr(finetuning, "SHARE", share)
        heard: list[tuple[int, int]] = []
        result = finetune(network, image, labels, "fp32", on_step=lambda done, of: heard.append((done, of)))
        assert heard == [(0, 2), (1, 2), (2, 2)]
        return result

    whole, shipped = finetuned(1.0), finetuned(SHARE)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    assert not any(name.startswith(("encoder.", "motion.")) for name in whole)
    assert sum(not torch.equal(weight, before[name]) for name, weight in whole.items()) > len(whole) / 2
    for name, weight in shipped.items():
        torch.testing.assert_close(weight, torch.lerp(before[name], whole[name], SHARE), atol=1e-5, rtol=1e-3)


def test_finetuning_does_not_follow_the_clock(monkeypatch):
    """A machine under load gives the same masks."""
    image, labels = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8)
    labels[10:40, 20:60] = 1
    monkeypatch.setattr(finetuning, "STEPS", 3)
    fast = finetune(tiny_network().eval(), image, labels, "fp32")
    slow = finetune(tiny_network().eval(), image, labels, "fp32", on_step=lambda done, of: time.sleep(0.2))
    assert all(torch.equal(weight, slow[name]) for name, weight in fast.items())


def test_a_part_of_the_frame_shows_the_object_at_up_to_five_times_its_size():
    labels = np.zeros((256, 448), np.uint8)
    labels[100:140, 200:260], labels[10:50, 20:60] = 7, 9
    image, heights = np.repeat(10 * labels[..., None], 3, 2), []
    for seed in range(60):
        shown, mask = _part(image, labels, 7, 320, np.random.default_rng(seed))
        assert shown.shape == (256, 448, 3) and (mask == 7).any()
        assert ((abs(shown[..., 0] - 70.0) < 10) ^ (mask == 7)).mean() < 0.02
        heights.append(cv2.boundingRect((mask == 7).view(np.uint8))[3])
    assert 40 <= min(heights) < 50 and 150 < max(heights) <= 201

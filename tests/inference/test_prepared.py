"""A prepared network computes what the network does."""

import numpy as np
import pytest
import torch
from torch import nn

from stesa_cli.inference import segmenter
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.prepared import Packed, prepared
from stesa_cli.model.efficientnet_lite import Convolution
from stesa_cli.model.network import ModelConfig

from ..networks import MODEL, TOGETHER, moving_squares, tiny_network

PAPER = ModelConfig(encoder="resnet18", skips=(8, 8, 8, 8), hidden=(8, 8, 8, 8))
FOLDED = TOGETHER.model_copy(update={"encoder": "tf_efficientnet_lite0", "fold_batch_norm": True})
onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")


def probabilities(config, precision):
    """Of each frame; the third object enters in the fourth."""
    network = tiny_network(config)
    for module in network.modules():  # as if it had been trained
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    frames, labels = moving_squares((96, 160))
    given = {0: np.where(labels < 3, labels, 0).astype(np.uint8), 3: np.where(labels == 3, labels, 0).astype(np.uint8)}
    tracked = segmenter.Segmenter(network, InferenceConfig(size=64, precision=precision, finetune=False), "cpu")
    return [tracked.step(frame, given.get(t)).probabilities for t, frame in enumerate(frames)]


@pytest.mark.parametrize("precision, within", [("fp32", 1e-4), ("bf16", 0.02)])
@pytest.mark.parametrize("config", [FOLDED, TOGETHER, MODEL, PAPER], ids=["folded", "together", "sequence", "paper"])
def test_same_masks(config, precision, within, monkeypatch):
    torch.manual_seed(1)
    found = probabilities(config, precision)
    torch.manual_seed(1)
    monkeypatch.setattr(segmenter, "prepared", lambda network, precision: network)
    for one, other in zip(found, probabilities(config, precision), strict=True):
        assert (one - other).abs().mean() < within


@onednn
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("clipped", [True, False])
def test_packed_convolutions_pad_and_clip(kernel, stride, clipped):
    convolution = Convolution(16, 16, kernel, stride, groups=16, clipped=clipped).requires_grad_(False)
    packed = Packed(convolution, torch.float32)
    for size in ((1, 16, 32, 48), (2, 16, 32, 48), (1, 16, 64, 32)):
        x = 10 * torch.randn(size)
        torch.testing.assert_close(packed(x), convolution(x))


@onednn
def test_what_is_packed(monkeypatch):
    network = tiny_network(FOLDED)
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    packed = prepared(network, "fp32")
    assert [name for name, module in packed.named_modules() if isinstance(module, Packed)] == convolutions
    assert not any(isinstance(module, nn.BatchNorm2d) for module in packed.modules())
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain = prepared(network, "bf16")
    assert not any(isinstance(module, Packed) for module in plain.modules())
    weights = [module.weight.dtype for module in plain.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert set(weights) == {torch.bfloat16}

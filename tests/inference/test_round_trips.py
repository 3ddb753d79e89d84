"""On a GPU a frame goes up once and its masks come down once. No GPU is needed to see it: the tensors are fake ones,
that are on a device and have a shape, but hold no numbers, so that nothing can be read from them in between."""

import os
from collections import Counter

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stesa_cli.inference import distractors, result, segmenter
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.model.network import Network

from ..networks import MODEL

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8)
LABELS = np.zeros((90, 150), np.uint8)
LABELS[10:50, 20:60], LABELS[40:80, 90:140] = 3, 7


class Crossings(TorchDispatchMode):
    """Counts what goes up to the device and comes down from it."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))

        def devices(values):
            return {each.device.type for each in tree_leaves(values) if isinstance(each, torch.Tensor)}

        before, after = devices((arguments, options)), devices(result)
        self.count["up"] += "cpu" in before and "cuda" in after
        self.count["down"] += "cuda" in before and "cpu" in after
        return result


@pytest.fixture(autouse=True)
def fake_gpu():
    """Fake tensors of older versions of torch (2.5) ask for a driver where there is none."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            torch.from_numpy(IMAGE).to("cuda")
    except RuntimeError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no fake GPU with torch {torch.__version__}: {error}")


@pytest.mark.parametrize(("suppress", "more"), [(False, 0), (True, 3)])
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_step_goes_up_once_and_comes_down_once(monkeypatch, suppress, more):
    """The frame and its flow go up, the masks come down; distractor suppression, which works on the host, has three
    ways down of its own (masks, last masks, motion)."""
    downloads = []

    def download(tensor: torch.Tensor) -> np.ndarray:
        downloads.append(tensor.shape)
        host = tensor.cpu()  # counted; what it holds is nothing
        return np.zeros(host.shape, {torch.uint8: np.uint8, torch.bool: bool}.get(host.dtype, np.float32))

    for module in (result, distractors):
        monkeypatch.setattr(module, "download", download)
    monkeypatch.setattr(segmenter, "find_device", torch.device)
    monkeypatch.setattr(segmenter, "place", lambda *_: None)
    monkeypatch.setattr(segmenter, "prepared", lambda network, _: network)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            network = Network(MODEL)
        config = InferenceConfig(size=64, precision="fp16", suppress_distractors=suppress)
        tracked = segmenter.Segmenter(network, config, "cuda")
        tracked.step(IMAGE, LABELS)
        for _ in range(3):
            downloads.clear()
            with Crossings() as crossings:
                assert tracked.step(IMAGE).probabilities.device.type == "cuda"
            assert crossings.count == {"up": 2, "down": 1 + more} and downloads[-1] == (2, 90, 150)


def test_the_count_sees_what_crosses():
    with FakeTensorMode(allow_non_fake_inputs=True), Crossings() as crossings:
        there = torch.from_numpy(IMAGE).to("cuda")
        there.float().mean((0, 1)).cpu()
        with pytest.raises(Exception, match=r"item|_local_scalar_dense"):
            there.sum().item()
    assert crossings.count == {"up": 1, "down": 1}

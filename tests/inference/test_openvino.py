"""OpenVINO computes what PyTorch does, on frames of any size and with objects that come in later."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from stesa_cli.errors import ConfigError
from stesa_cli.inference import openvino
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.model.network import ModelConfig, Network

from ..networks import MODEL

ALONE = bool(os.environ.get("STESA_TEST_OPENVINO"))
alone = pytest.mark.skipif(not ALONE, reason="runs in a process of its own")
TOGETHER = MODEL.model_copy(update={"objects": "together", "motion": 0})
PAPER = ModelConfig(encoder="test_efficientnet", skips=(8, 8, 8, 8), hidden=(8, 8, 8, 8))


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Graphs are made anew in each test, and not in the user's folder."""
    openvino._folder.cache_clear()
    monkeypatch.setattr(openvino.platformdirs, "user_cache_path", lambda name: tmp_path / name)
    yield tmp_path / "stesa/graphs"
    openvino._folder.cache_clear()


def network(config: ModelConfig) -> Network:
    torch.manual_seed(0)
    return Network(config).eval()


def video(size, frames=6):
    """Noise that moves, and the label map of three squares."""
    random = np.random.default_rng(0)
    picture = np.kron(random.integers(0, 255, (12, 20, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    labels = np.zeros(size, np.uint8)
    for i in range(3):
        labels[10 + 5 * i : 50 + 5 * i, 10 + 30 * i : 35 + 30 * i] = i + 1
    return [np.roll(picture, 3 * t, 1)[: size[0], : size[1]] for t in range(frames)], labels


def probabilities(backend, model, size=(96, 160)):
    """Of each frame; the third object enters in the fourth."""
    frames, labels = video(size)
    config = InferenceConfig(size=64, precision="fp32", backend=backend, finetune=False)
    segmenter = Segmenter(network(model), config, "cpu")
    given = {0: np.where(labels < 3, labels, 0).astype(np.uint8), 3: np.where(labels == 3, labels, 0).astype(np.uint8)}
    found = [segmenter.step(frame, given.get(t)).probabilities for t, frame in enumerate(frames)]
    assert (type(segmenter.backend) is openvino.OpenVINO) == (backend == "openvino")
    return found


@alone
@pytest.mark.parametrize("model", [TOGETHER, MODEL, PAPER], ids=["together", "sequence", "paper"])
@pytest.mark.parametrize("size", [(96, 160), (150, 120)])
def test_openvino_computes_what_pytorch_does(model, size):
    for one, other in zip(probabilities("torch", model, size), probabilities("openvino", model, size), strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)
        assert (one.argmax(0) == other.argmax(0)).float().mean() > 0.995


@alone
@pytest.mark.parametrize("model", [TOGETHER, MODEL], ids=["together", "sequence"])
def test_in_bf16_too(model):
    frames, labels = video((96, 160))
    segmenter = Segmenter(network(model), InferenceConfig(size=64, precision="bf16", backend="openvino"), "cpu")
    for t, frame in enumerate(frames):
        assert segmenter.step(frame, None if t else labels).labels.shape == (96, 160)


@alone
def test_a_network_is_converted_once(monkeypatch, cache_folder):
    before = probabilities("openvino", TOGETHER)
    monkeypatch.setattr(openvino, "save", lambda graph, path: pytest.fail("converted again"))
    assert all(torch.equal(*pair) for pair in zip(before, probabilities("openvino", TOGETHER), strict=True))
    [weights] = [path for path in cache_folder.iterdir() if path.name != "compiled"]
    assert sorted(path.name for path in weights.iterdir()) == ["decode", "encode", "write"]


@alone
def test_a_cache_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "stesa").write_text("in the way")
    assert len(probabilities("openvino", TOGETHER)) == 6


def test_without_openvino_that_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "stesa_cli.inference.openvino", None)
    frames, labels = video((96, 160))
    segmenter = Segmenter(network(TOGETHER), InferenceConfig(size=64, backend="openvino"), "cpu")
    with pytest.raises(ConfigError, match=r"OpenVINO cannot be used.*use --backend torch"):
        segmenter.step(frames[0], labels)


@pytest.mark.skipif(ALONE, reason="this is the process of its own")
def test_in_a_process_of_its_own():
    """For OpenVINO overruns its heap, which may end a process at any later time."""
    command = [sys.executable, "-u", "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    said = subprocess.run(command, env=os.environ | {"STESA_TEST_OPENVINO": "1"}, capture_output=True, text=True).stdout
    assert "11 passed" in said and "failed" not in said, said

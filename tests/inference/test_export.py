"""What is exported does without PyTorch what the Segmenter does with it."""

import subprocess
import sys

import numpy as np
import openvino
import pytest
from typer.testing import CliRunner

from stesa_cli.checkpoint import save
from stesa_cli.cli import app
from stesa_cli.inference import frame
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.video.reading import Frame

from ..networks import TOGETHER, moving_squares, tiny_network, tiny_weights

SIZE = (96, 160)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "together.safetensors"
    save(path, tiny_network(TOGETHER).state_dict(), TOGETHER, {"step": 3})
    return path


def export(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_the_example_does_what_the_segmenter_does(weights, tmp_path, monkeypatch):
    folder = tmp_path / "graphs"
    result = export("--onnx", folder, "--frame", "160x96", "--weights", weights)
    assert result.exit_code == 0, result.output
    frames, labels = moving_squares(SIZE, 9)  # so many that the memory drops some
    labels[labels == 3] = 0
    monkeypatch.setattr(frame, "optical_flow", lambda now, last: np.zeros((3, *SIZE), np.float32))
    config = InferenceConfig(size=96, precision="fp32", crop=False, suppress_distractors=False)
    same, track, expected = tiny_network(TOGETHER).eval(), frame.Track(), []
    for t, picture in enumerate(frames):
        shown = Frame(picture, t, 0.0)
        given = frame.Given(shown) if t else frame.Given(shown, labels, [1, 2])
        seen = frame.see(same, config, given, track.last, None, None)
        track = frame.follow(same, config, track, seen, 2).track
        expected.append(track.groups[0].state.masks[0])
    for name, array in (("frames", np.stack(frames)), ("first", labels)):
        np.save(tmp_path / f"{name}.npy", array)
    paths = [str(tmp_path / f"{name}.npy") for name in ("frames", "first", "masks")]
    subprocess.run([sys.executable, folder / "example.py", *paths], check=True)
    found = np.load(tmp_path / "masks.npy")
    for masks, map_ in zip(expected, found, strict=True):
        full = np.concatenate([1 - masks.sum(0, keepdims=True), masks])
        assert (full.argmax(0) == map_).mean() > 0.995
    assert (
        "memory.json" in {path.name for path in folder.iterdir()} and "96 × 160" in (folder / "README.md").read_text()
    )
    again = export("--onnx", folder, "--weights", weights)
    assert again.exit_code == 1 and "is there already; choose a new folder" in str(again.exception)


def test_openvino_graphs_are_files(weights, tmp_path):
    assert export("--openvino", tmp_path / "graphs", "--weights", weights).exit_code == 0
    names = sorted(path.name for path in (tmp_path / "graphs").iterdir())
    assert names == [
        f"{name}.{kind}" for name in ("decode", "encode", "move", "read", "write") for kind in ("bin", "xml")
    ]
    model = openvino.Core().read_model(tmp_path / "graphs/decode.xml")
    assert [each.get_any_name() for each in model.inputs]


@pytest.mark.parametrize("text", ["854x480", "864", "0x32", "axb"])
def test_only_multiples_of_32(text, tmp_path):
    result = export("--onnx", tmp_path / "graphs", "--frame", text)
    assert result.exit_code == 2 and "multiples of 32" in result.output


def test_one_object_after_another_is_no_graph(tmp_path):
    result = export("--onnx", tmp_path / "graphs", "--weights", tiny_weights(tmp_path / "tiny.safetensors"))
    assert result.exit_code == 1 and "one object after another" in str(result.exception)
    assert not (tmp_path / "graphs").exists()

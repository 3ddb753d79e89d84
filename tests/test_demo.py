"""What a new user sees first: the shipped weights on the demo clip, offline, against its exact truth."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from stesa_cli.masks import read_mask
from stesa_cli.metrics.summary import score_sequence

ASSETS = Path(__file__).parents[1] / "assets"


@pytest.mark.parametrize("options", [[], ["--weights", "next", "--no-finetune"]], ids=["default", "next"])
def test_the_shipped_weights_segment_the_demo(tmp_path, options):
    command = [
        "segment",
        str(ASSETS / "demo.mp4"),
        "--mask",
        str(ASSETS / "demo.png"),
        "--output",
        str(tmp_path / "out"),
        *options,
    ]
    result = subprocess.run([sys.executable, "-m", "stesa_cli", *command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    truth = sorted((ASSETS / "demo_truth").glob("*.png"))
    found = sorted((tmp_path / "out" / "masks").glob("*.png"))
    assert [p.name for p in found] == [p.name for p in truth] and len(truth) == 60
    scores = score_sequence("demo", ((read_mask(t), read_mask(f)) for t, f in zip(truth, found, strict=True)))
    assert {i: np.mean(each.J) >= 0.80 for i, each in scores.objects.items()} == {1: True, 2: True}


def test_the_weights_tell_how_they_were_made():
    """As they came from training: nothing in the file beside them is written by hand."""
    weights = ASSETS.parent / "stesa_cli/weights/stesa.safetensors"
    with safe_open(weights, framework="pt") as file:
        header = file.metadata()
    made = json.loads(weights.with_suffix(".json").read_text())
    assert made == {"version": header["version"], **json.loads(header["info"])}
    for part in made["average_of"]:
        assert part["step"] <= sum(stage["steps"] for stage in part["run"]["stages"])
        assert not {"blackswan", "camel", "car-shadow"} & set(part["run"]["train"]["held_out"])
    assert weights.stat().st_size < 20e6

"""``stesa train`` as its user meets it, with the tiny config."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from stesa_cli.checkpoint import load_network, read
from stesa_cli.cli import app
from stesa_cli.errors import InputError, StesaError
from stesa_cli.masks import write_mask

from ..tiny import TINY


@pytest.fixture
def train(tiny_data, tmp_path):
    """Runs the command in this process; returns what it showed."""
    (tmp_path / "tiny.toml").write_text(TINY)

    def call(*arguments: object) -> str:
        command = ["train", "--config", tmp_path / "tiny.toml", "--data-root", tiny_data, "--device", "cpu"]
        result = CliRunner().invoke(app, [str(a) for a in (*command, "--workers", 0, *arguments)])
        if result.exception:
            raise result.exception
        return " ".join(result.output.split())

    return call


def test_a_run_shows_its_course_draws_its_curves_and_exports(train, tmp_path):
    shown = train("--run", tmp_path / "run", "--export", tmp_path / "tiny.safetensors")
    for part in ("6/6", "soft iou", "images/s", "waiting for data", "step 3: held-out J", "best held-out J", "left"):
        assert part in shown
    assert (tmp_path / "run/curves/stage-2.png").is_file()
    assert load_network(tmp_path / "tiny.safetensors")[1]["step"] in (3, 6)
    (tmp_path / "run/curves/stage-2.png").unlink()
    assert "stage-2.png" in train("--plot", tmp_path / "run")
    assert (tmp_path / "run/curves/stage-2.png").is_file()


def test_a_dry_run_tries_every_stage_and_leaves_only_pictures(train, tmp_path):
    shown = train("--run", tmp_path / "run", "--dry-run")
    assert "stage 1: loss" in shown and "stage 2: loss" in shown and "6 steps are ready" in shown
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["batch-1.png", "batch-2.png"]
    assert Image.open(tmp_path / "run/batch-1.png").size == (3 * 96, 2 * 64)  # frames × clips


def test_problems_are_told_before_anything_starts(train, tmp_path):
    with pytest.raises(StesaError, match="stesa data get davis-2017"):
        train("--run", tmp_path / "run", "--dataset", "davis,stills", "--year", 2017, "--data-root", tmp_path)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="not the folder of a run"):
        train("--plot", tmp_path)


def test_odd_data_are_told_before_the_start_and_when_they_are_met(train, tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    mask = tmp_path / "data/davis2016/Annotations/480p/b/00004.png"
    write_mask(mask, np.ones((48, 48), np.uint8))
    frame = tmp_path / "data/davis2016/JPEGImages/480p/a/00003.jpg"
    frame.write_bytes(frame.read_bytes()[:1500])
    shown = train("--run", tmp_path / "run", "--data-root", tmp_path / "data")
    before = f"left out are masks of another size than their image (1, such as {mask}: is 48×48, but its frame"
    assert shown.count(before) == 1 and shown.count(f"warning: {frame}: cannot be decoded") == 1
    assert shown.index(before) < shown.index("step 3: held-out") and "6/6" in shown


def test_ctrl_c_saves_and_says_how_to_go_on(tiny_data, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    command = [sys.executable, "-m", "stesa_cli", "train", "--config", tmp_path / "tiny.toml", "--data-root", tiny_data]
    command += ["--device", "cpu", "--workers", "1", "--steps", "4000", "--run", tmp_path / "run"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run/metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.is_file() and metrics.read_text().count("\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=120)
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert process.returncode == 130 and "Traceback" not in shown
    assert f"saved at step {steps[-1]}: the same command goes on" in " ".join(shown.split())
    assert read(tmp_path / "run/last.safetensors")[2]["step"] == steps[-1]

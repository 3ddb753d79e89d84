"""Through the whole house as a user would: train, be interrupted, go on, evaluate, segment; every output listed."""

import json
import subprocess
import sys

import pytest

from stesa_cli.evaluation.score_files import read_json
from stesa_cli.masks import read_mask, write_mask

from . import layouts
from .clips import make_video
from .tiny import TINY, lay_out


def stesa(*arguments: object, cwd: object) -> str:
    command = [sys.executable, "-m", "stesa_cli", *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    data = lay_out(folder / "data") / "davis2016"
    layouts.davis(data, 2016, "val", {"d": [layouts.squares(t, 1) for t in range(4)]})
    (folder / "tiny.toml").write_text(TINY)
    return folder


def test_the_whole_house(home):
    said = stesa(
        *("train", "--config", "tiny.toml", "--run", "runs/tiny", "--workers", 0, "--device", "cpu"),
        *("--export", "tiny.safetensors"),
        cwd=home,
    )
    assert "weights written to tiny.safetensors" in said
    assert {"best.safetensors", "last.safetensors", "metrics.jsonl"} <= {p.name for p in (home / "runs/tiny").iterdir()}
    assert json.loads((home / "tiny.json").read_text())["run"]["train"]["held_out"] == ["c"]

    ours = ("--weights", "tiny.safetensors", "--device", "cpu")
    stesa("evaluate", "--year", 2016, "--output", "scores.json", "--masks-dir", "masks", *ours, cwd=home)
    scores = json.loads((home / "scores.json").read_text())
    assert list(scores["sequences"]) == ["d"] and len(scores["sequences"]["d"]["objects"]["1"]["J"]) == 2
    stesa("evaluate", "--year", 2016, "--output", "same.json", "--predictions", "masks", cwd=home)
    assert read_json(home / "same.json") == read_json(home / "scores.json")

    video = make_video(home / "clip.mp4", frames=4)
    write_mask(home / "first.png", layouts.squares(0, 1, 2))
    stesa("segment", video, "--mask", "first.png", *ours, cwd=home)
    found = sorted(str(p.relative_to(home / "clip_stesa")) for p in (home / "clip_stesa").rglob("*") if p.is_file())
    pngs = [f"{i:05d}.png" for i in range(4)]
    folders = [f"{folder}/{name}" for folder in ("masks", "objects/1", "objects/2") for name in pngs]
    assert found == [*folders, "overlay.mp4", "report.json", "timeline.png"]
    assert (read_mask(home / "clip_stesa/masks/00000.png") == layouts.squares(0, 1, 2)).all()

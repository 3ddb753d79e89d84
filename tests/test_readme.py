"""What README.md shows, run as it is written."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from stesa_cli.masks import read_mask, write_mask
from stesa_cli.video.reading import open_video

from .clips import ffmpeg

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def home(tmp_path):
    """A folder with the first frames of the demo clip and their mask, small."""
    cut = ["-i", str(ROOT / "assets/demo.mp4"), "-frames:v", "4", "-vf", "scale=214:120", str(tmp_path / "video.mp4")]
    ffmpeg(*cut)
    write_mask(tmp_path / "frame0.png", read_mask(ROOT / "assets/demo.png")[::4, ::4][:120, :214])
    return tmp_path


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_as_written(home, number):
    command = [sys.executable, "-W", "error::UserWarning", "-c", EXAMPLES[number]]
    result = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (folder,) = home.rglob("masks")
    assert sorted(path.name for path in folder.iterdir()) == [f"{t:05d}.png" for t in range(4)]
    assert (read_mask(folder / "00000.png") == read_mask(home / "frame0.png")).all()


def test_training_on_ones_own_videos_as_written(home):
    """But for the number of steps: ten clips of the demo's first frames."""
    readme = (ROOT / "README.md").read_text()
    commands = re.search(r"^### Train on your own videos$.*?^```sh\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)[1]
    with open_video(home / "video.mp4") as reader:
        frames = [frame.image for frame in reader]
    for number in range(10):
        images, masks = (home / "DATA/mine" / kind / f"clip{number}" for kind in ("JPEGImages", "Annotations"))
        images.mkdir(parents=True)
        for t, frame in enumerate(frames):
            Image.fromarray(frame).save(images / f"{t:05d}.webp")
            write_mask(masks / f"{t:05d}.png", read_mask(home / "frame0.png"))
    train, segment = map(shlex.split, commands.splitlines())
    for command in ([*train, "--steps", "2"], segment):
        result = subprocess.run(
            [sys.executable, "-m", "stesa_cli", *command[1:]], cwd=home, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        if command[1] == "train":
            assert re.search(r"step 0: held-out J 0\.\d+.*the best so far", result.stdout + result.stderr)
    report = json.loads((home / "video_stesa/report.json").read_text())
    assert report["model"]["info"]["run"]["train"]["initial"] == "stesa"


def test_every_public_name_has_an_example():
    import stesa_cli

    assert len(EXAMPLES) >= 2
    for name in set(stesa_cli.__all__) - {"__version__"}:
        assert any(re.search(rf"import .*\b{name}\b", example) for example in EXAMPLES), name
        assert getattr(stesa_cli, name).__doc__

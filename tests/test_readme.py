"""What README.md shows, run as it is written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stesa_cli.masks import read_mask, write_mask

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


def test_every_public_name_has_an_example():
    import stesa_cli

    assert len(EXAMPLES) >= 2
    for name in set(stesa_cli.__all__) - {"__version__"}:
        assert any(re.search(rf"import .*\b{name}\b", example) for example in EXAMPLES), name
        assert getattr(stesa_cli, name).__doc__

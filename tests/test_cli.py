import os
import subprocess
import sys
from pathlib import Path

import pytest

from stesa_cli import __version__


def stesa(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "stesa_cli", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [[], ["segment"], ["train"], ["evaluate"], ["data"], ["data", "get"]])
def test_help_loads_no_heavy_package(command):
    code = (
        "import sys; from stesa_cli.cli import app\n"
        f"try: app({[*command, '--help']!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'cv2', 'timm', 'PIL', 'matplotlib'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]" and "Usage" in result.stdout


def test_segmenting_with_the_shipped_weights_loads_torch_but_nothing_as_slow():
    demo = Path(__file__).parents[1] / "assets" / "demo.mp4"
    code = (
        "import sys; from stesa_cli import InferenceConfig, Segmenter, open_video, read_mask\n"
        "segmenter = Segmenter.load(config=InferenceConfig(size=64, finetune=False))\n"
        f"with open_video({str(demo)!r}) as frames:\n"
        f"    results = segmenter.propagate(frames, {{0: read_mask({str(demo.with_suffix('.png'))!r})}})\n"
        "    print([next(results).index, next(results).index])\n"
        "import stesa_cli.segmentation.job\n"
        "slow = {'timm', 'torchvision', 'torch._dynamo', 'sympy', 'scipy', 'matplotlib', 'accelerate'}\n"
        "print(sorted(slow & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[0, 1]", "[]"]


@pytest.mark.parametrize("given", [None, "500"])
def test_idle_threads_sleep_soon_unless_the_user_has_it_otherwise(given):
    code = (
        "import os, sys; from stesa_cli.cli import main\n"
        "sys.argv = ['stesa', 'segment', 'gone.mp4', '--mask', 'gone.png']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {"GOMP_SPINCOUNT": given} if given else {}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.split() == [given or "2000", "True"]


def test_version():
    assert stesa("--version").stdout.strip() == f"stesa {__version__}"


def test_an_error_of_the_users_is_one_line_and_exit_code_1(tmp_path):
    result = stesa("segment", str(tmp_path / "gone.mp4"), "--mask", str(tmp_path / "gone.png"))
    assert result.returncode == 1 and "gone.mp4: no such video" in result.stderr and "Traceback" not in result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("error: ")] == result.stderr.splitlines()[
        -1:
    ]


def test_wrong_usage_is_exit_code_2():
    assert stesa("segment").returncode == 2
    assert stesa("nonsense").returncode == 2


def test_an_error_before_the_start_draws_no_bar():
    result = stesa("data", "get", "nope")
    assert result.returncode == 1 and result.stderr.splitlines() == [
        "error: nope: no such data set; choose one of: davis-2017, davis-2017-test-dev, davis-2016"
    ]


def test_a_name_of_several_lines_is_told_in_one():
    result = stesa("segment", "go\n\x1bne.mp4")
    assert result.stderr.splitlines() == [
        r"error: go\n\x1bne.mp4: no such video; give a video file or a folder of frames"
    ]

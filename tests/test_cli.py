import subprocess
import sys

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

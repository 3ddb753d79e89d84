"""The ffmpeg that imageio-ffmpeg brings: starting it, and telling it file names."""

import subprocess
from pathlib import Path
from typing import IO

import imageio_ffmpeg

from stesa_cli.errors import StesaError

EACH_FRAME = ["-map", "0:V:0", "-fps_mode", "passthrough", "-enc_time_base", "1:1000000"]
"""Options to decode every frame of the video once. By default ffmpeg counts in frames of the nominal rate, and calls it
an error when two frames of a variable rate meet in one."""

SAME_TIMES = ["-copyts", "-start_at_zero"]
"""Options before the input that keep times as they are when all is read from the start, wherever one begins."""


def start(arguments: list[str], stdin: int, stdout: int, stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start ffmpeg out of reach of the terminal's Ctrl-C, which is for us to answer.
    Raises StesaError when there is no ffmpeg."""
    try:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostats", *arguments]
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)
    except (RuntimeError, OSError) as error:
        fix = "reinstall imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to an ffmpeg of version 5.1 or later"
        raise StesaError(f"ffmpeg cannot be started ({error})", fix=fix) from error


def url(path: Path) -> str:
    """A file name that ffmpeg takes for nothing else, whatever dashes, colons or spaces are in it."""
    return f"file:{path.absolute()}"


def complains(path: Path) -> bool:
    """Whether decoding the whole video meets an error."""
    nowhere = ["-v", "error", "-i", url(path), *EACH_FRAME, "-f", "null", "-"]
    with start(nowhere, subprocess.DEVNULL, subprocess.DEVNULL, subprocess.PIPE) as process:
        assert process.stderr
        return bool(process.stderr.read())

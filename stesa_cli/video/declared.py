"""How long a video says that it is, without decoding it."""

import re
import subprocess
from pathlib import Path

from PIL import Image

from stesa_cli.video import ffmpeg
from stesa_cli.video.frame_folder import IMAGES


def declared(path: Path, pattern: str = "*") -> tuple[int, int]:
    """Frames, and pixels of each, as a video file's container declares, or as a folder of images that match the pattern
    has them; zeros where nothing tells."""
    if path.is_dir():
        images = [file for file in path.glob(pattern) if file.suffix.lower() in IMAGES]
        return len(images), _pixels(images[0]) if images else 0
    with ffmpeg.start(["-i", ffmpeg.url(path)], subprocess.DEVNULL, subprocess.DEVNULL, subprocess.PIPE) as process:
        said = process.communicate()[1].decode(errors="replace")
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said)
    rate, size = re.search(r"Video: .*?([\d.]+) fps", said), re.search(r"Video: .*?, (\d+)x(\d+)", said)
    hours, minutes, seconds = map(float, length.groups()) if length else (0.0, 0.0, 0.0)
    frames = (3600 * hours + 60 * minutes + seconds) * float(rate[1] if rate else 0)
    return round(frames), int(size[1]) * int(size[2]) if size else 0


def _pixels(path: Path) -> int:
    try:
        with Image.open(path) as image:
            return image.width * image.height
    except (OSError, SyntaxError, ValueError):
        return 0

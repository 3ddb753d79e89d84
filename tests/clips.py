"""Tiny videos whose frames carry their number, so that a lost, doubled, swapped or turned frame shows."""

import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def numbered(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture (height, width, 3) uint8 RGB that carries a number below 64 as six upright bars, read left to right;
    red is stronger than blue, and the top darker than the rest, so that swapped channels and turned pictures show."""
    bits = (number >> np.arange(5, -1, -1)) & 1
    row = np.repeat(60 + 120 * bits, -(-width // 6))[:width]
    image = np.stack([row + 60, row, row - 40], axis=-1)[None].repeat(height, 0)
    image[: height // 4] -= 20
    return image.astype(np.uint8)


def number_of(image: np.ndarray) -> int:
    """The number that a picture carries. Fails when the picture is turned, or not RGB."""
    assert image.dtype == np.uint8 and image[..., 0].mean() > image[..., 2].mean() + 60
    assert image[:9].mean() < image[-9:].mean() - 8
    bars = np.array_split(image[image.shape[0] // 2 :, :, 1], 6, axis=1)
    return sum((bar.mean() > 120) << bit for bar, bit in zip(bars, range(5, -1, -1), strict=True))


def ffmpeg(*arguments: str, stdin: bytes = b"") -> str:
    """Run ffmpeg to its end and return its log."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-nostats", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stderr.decode(errors="replace")


def make_video(
    path: Path, *options: str, frames: int = 12, size: tuple[int, int] = (64, 48), rate: Fraction = Fraction(25)
) -> Path:
    """Write a video of numbered frames, H.264 unless the output options of ffmpeg say otherwise."""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "{}x{}".format(*size), "-r", str(rate), "-i", "pipe:0"]
    coding = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv444p" if any(n % 2 for n in size) else "yuv420p",
    ]
    ffmpeg(*raw, *coding, *options, f"file:{path}", stdin=b"".join(numbered(i, *size).tobytes() for i in range(frames)))
    return path

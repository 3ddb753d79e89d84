"""Videos to look at, with the times of their source."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np

from stesa_cli.errors import ConfigError
from stesa_cli.video.background import background
from stesa_cli.video.encoding import encoder

_ALPHA = {
    ".mov": ("yuva444p10le", "-c:v prores_ks -profile:v 4444 -qscale:v 4"),
    ".webm": ("yuva420p", "-c:v libvpx-vp9 -crf 20 -b:v 0 -deadline realtime -cpu-used 8 -row-mt 1 -auto-alt-ref 0"),
}
"""Pixel format and coding of each container that can hold an alpha channel; the slow encoders are asked for speed."""


FAST = "-preset superfast -x264-params mbtree=1:rc-lookahead=10"
"""As good and as small as x264's preset veryfast, in six tenths of its time (docs/performance.md)."""


@contextmanager
def video_writer(
    path: Path,
    rate: Fraction,
    audio_from: Path | None = None,
    crf: int = 18,
    effort: str = FAST,
    sample_aspect: Fraction = Fraction(1),
) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Write a video: the block is given ``write(image, time)``, to call with each frame (H, W, 3) uint8 RGB, all of one
    size, and its time in seconds, rising. Encoding runs in the background; leave an image alone once it is handed over.

    H.264 yuv420p, BT.709. An odd width or height grows by one pixel, its border repeated, as yuv420p has even sizes
    only. Times are kept to 1/90000 s or better, and exactly those of ``rate`` (frames per second) are kept exactly.
    Sound is copied from ``audio_from``, or made AAC where the container refuses it. ``sample_aspect`` is the width of a
    pixel by its height, as it is to be shown.
    The file takes its name when the block ends well. Raises OutputError when ffmpeg or the disk refuses.
    """
    coding = ["-c:v", "libx264", "-crf", str(crf), *effort.split(), "-movflags", "+faststart"]
    with encoder(path, rate, "yuv420p", coding, audio_from, sample_aspect) as encode, background(1) as submit:

        def write_even(image: np.ndarray, time: float) -> None:
            height, width = image.shape[:2]
            if height % 2 or width % 2:
                image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            encode(image, time)

        yield lambda image, time: submit(write_even, image, time)


@contextmanager
def alpha_writer(
    path: Path, rate: Fraction, sample_aspect: Fraction = Fraction(1)
) -> Iterator[Callable[[np.ndarray, np.ndarray, float], None]]:
    """Write a video whose frames are clear outside the objects: the block is given ``write(image, alpha, time)``, like
    that of ``video_writer``, with the ``alpha`` (H, W) uint8 of each frame, 0 clear to 255 opaque.

    The suffix chooses: ``.mov`` is ProRes 4444 for editors, times as in ``video_writer``; ``.webm`` is VP9 for the web,
    its times rounded to 1 ms. Odd sizes stay. Colours are straight, not multiplied by alpha, so whoever drops the alpha
    channel sees the whole frame. Raises ConfigError for another suffix, else as ``video_writer``.
    """
    if path.suffix.lower() not in _ALPHA:
        raise ConfigError("no alpha channel can be written in such a file", path, "name it .mov or .webm")
    pixels, coding = _ALPHA[path.suffix.lower()]
    with encoder(path, rate, pixels, coding.split(), None, sample_aspect) as encode, background(1) as submit:
        yield lambda image, alpha, time: submit(lambda: encode(np.dstack([image, alpha]), time))

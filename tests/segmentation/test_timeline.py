"""The timeline draws each object in its colour, with a gap where it is absent."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stesa_cli.segmentation import timeline
from stesa_cli.segmentation.timeline import draw_timeline


def columns(path: Path, i: int) -> list[np.ndarray]:
    """Where an object's colour is seen in the upper and in the lower panel, left of the legend: columns, rising."""
    pixels = np.asarray(Image.open(path).convert("RGB"))[:, :1220].astype(int)
    seen = np.abs(pixels - 255 * timeline._readable(i)).max(-1) < 40
    return [half.any(0).nonzero()[0] for half in np.array_split(seen, 2)]


def test_lines_break_where_an_object_is_absent(tmp_path: Path) -> None:
    times = [i / 10 for i in range(100)]
    areas: dict[int, list[int | None]] = {1: [300] * 100, 2: [100] * 40 + [0] * 20 + [100] * 40, 4: [None] * 100}
    areas[4][50] = 200
    draw_timeline(tmp_path / "new" / "a.png", times, areas, {1: [0.9] * 100, 2: [0.8] * 100, 4: [0.7] * 100}, 1000)
    for panel in range(2):
        whole, broken, once = (columns(tmp_path / "new" / "a.png", i)[panel] for i in (1, 2, 4))
        width = np.ptp(whole)
        assert np.diff(whole).max() == 1 and np.ptp(broken) == pytest.approx(width, abs=3)
        assert np.diff(broken).max() == pytest.approx(0.21 * width, abs=0.02 * width)
        assert len(once) < 10 and once.mean() == pytest.approx(whole[0] + 50 / 99 * width, abs=3)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize("frames, objects", [(1, 1), (2, 0), (10_000, 20)])
def test_short_long_and_crowded_videos(tmp_path: Path, frames: int, objects: int) -> None:
    ids = range(1, objects + 1)
    draw_timeline(
        tmp_path / "a.png", range(frames), {i: [i] * frames for i in ids}, {i: [i / 20] * frames for i in ids}, 100
    )
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1300, 676)

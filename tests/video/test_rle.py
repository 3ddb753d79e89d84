"""What other programs are given says the same as the masks; or there is no file at all."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from stesa_cli.errors import ConfigError, OutputError
from stesa_cli.video.rle import require_pycocotools, rle_writer

LABELS = np.random.default_rng(0).choice(np.array([0, 1, 7, 254], np.uint8), (30, 47, 63))
LABELS[3][LABELS[3] == 7] = 0
LABELS[4] = 0
LABELS[4, 10:15, 20:50] = 254


def write_rle(path: Path) -> None:
    with rle_writer(path) as write:
        for i, labels in enumerate(LABELS):
            write(i, i / 25, labels, [1, 7, 254])


def test_run_lengths_decode_to_the_masks(tmp_path: Path) -> None:
    write_rle(tmp_path / "new" / "rle.json")
    found = json.loads((tmp_path / "new" / "rle.json").read_text())
    assert set(found) == {"size", "frames"} and found["size"] == [47, 63]
    assert [frame["index"] for frame in found["frames"]] == list(range(30))
    assert [frame["time"] for frame in found["frames"]] == [i / 25 for i in range(30)]
    for labels, frame in zip(LABELS, found["frames"], strict=True):
        assert [each["id"] for each in frame["objects"]] == [i for i in (1, 7, 254) if (labels == i).any()]
        for each in frame["objects"]:
            mask = labels == each["id"]
            assert (coco.decode(each["segmentation"]) == mask).all() and each["area"] == mask.sum()
            (y, x), (left, top, width, height) = mask.nonzero(), each["bbox"]
            assert (left, top, left + width, top + height) == (x.min(), y.min(), x.max() + 1, y.max() + 1)
    assert found["frames"][4]["objects"][0]["bbox"] == [20, 10, 30, 5]


def test_run_lengths_are_on_disk_before_the_end(tmp_path: Path) -> None:
    with rle_writer(tmp_path / "rle.json") as write:
        for i in range(300):
            write(i, i / 25, LABELS[0], [1, 7, 254])
        (part,) = tmp_path.iterdir()
        assert part.name.startswith(".") and part.stat().st_size > 200_000, "not in memory"
    assert len(json.loads((tmp_path / "rle.json").read_text())["frames"]) == 300


def test_an_error_in_the_block_leaves_no_run_lengths(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), rle_writer(tmp_path / "rle.json") as write:
        write(0, 0.0, LABELS[0], [1])
        raise ZeroDivisionError
    with pytest.raises(OutputError, match="no frame"), rle_writer(tmp_path / "rle.json"):
        """Nothing is written."""
    with pytest.raises(AttributeError), rle_writer(tmp_path / "rle.json") as write:
        write(0, 0.0, None, [1])  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_without_pycocotools_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    for call in (require_pycocotools, lambda: write_rle(tmp_path / "new" / "rle.json")):
        with pytest.raises(ConfigError, match=r"run lengths need pycocotools .*; pip install 'stesa-cli\[rle\]'"):
            call()
    assert not list(tmp_path.iterdir())

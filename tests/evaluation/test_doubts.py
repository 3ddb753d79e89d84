"""Masks that are good but score badly are told of, whatever spoils them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.evaluation.benchmark import Benchmark, find_masks, open_benchmark
from stesa_cli.masks import read_mask, write_mask

from ..layouts import davis, predictions, squares, youtube_vos, zipped

TRUTH = {name: [squares(t, *ids) for t in range(6)] for name, ids in (("a", (1, 2)), ("b", (1,)))}


STRANGE = "holds ids that the truth does not have, which count as background"


def benchmark(tmp_path: Path, year: int = 2017) -> Benchmark:
    davis(tmp_path / "data", year, "val", TRUTH)
    return open_benchmark("davis", year, "val", tmp_path / "data")


def notes(tmp_path: Path, table: list[int], year: int = 2017, frames: range = range(6)) -> tuple[str, ...]:
    """On masks whose ids are those of the table by the true ones, in these frames."""
    ids = np.array(table, np.uint8)
    spoilt = {name: [ids[m] if t in frames else m for t, m in enumerate(masks)] for name, masks in TRUTH.items()}
    return find_masks(predictions(tmp_path / "p", spoilt), benchmark(tmp_path, year).sequences).notes


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([0, 1, 2], ()),
        ([0, 7, 2], (f"a, b: {STRANGE} (a: 7, where the truth has 1, 2)",)),
        ([1, 0, 0], ("a, b: object and background seem to be swapped",)),
        ([0, 0, 0], ("the masks hold no object",)),
        ([0, 1, 1], ("a: all its objects have one id (a: 1, where the truth has 1, 2)",)),
    ],
)
def test_what_would_score_badly_is_told_of(tmp_path, table, expected):
    assert notes(tmp_path, table) == expected


def test_ids_in_another_order(tmp_path):
    first, second = notes(tmp_path, [0, 2, 1])
    expected = "in another order than those of the truth (a: object 1 has the id 2, object 2 has the id 1)"
    assert first.startswith("a: ") and expected in first
    assert second.startswith("b: holds ids that the truth does not have") and "(b: 2, where the truth has 1)" in second


def test_ids_that_change_later(tmp_path):
    assert "in another order" in notes(tmp_path, [0, 2, 1], frames=range(4, 6))[0]


def test_davis_2016_knows_no_ids(tmp_path):
    assert notes(tmp_path, [0, 7, 9], 2016) == ()
    assert notes(tmp_path / "inverted", [1, 0, 0], 2016) == ("a, b: object and background seem to be swapped",)


def test_youtube_vos_ids_may_enter_late(tmp_path):
    masks = [squares(t, *([1] if t < 3 else [1, 2])) for t in range(6)]
    youtube_vos(tmp_path / "data", "train", {"v": masks}, {"v": {1: "dog", 2: "cat"}})
    sequences = open_benchmark("youtube-vos", None, "train", tmp_path / "data").sequences
    assert find_masks(predictions(tmp_path / "p", {"v": masks}, step=5), sequences).notes == ()


def test_colours_that_are_no_ids_read_alike_in_any_palette(tmp_path):
    colours = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255)], np.uint8)
    for kind in ("rgb", "quantised"):
        for name, masks in TRUTH.items():
            (tmp_path / kind / name).mkdir(parents=True)
            for t, labels in enumerate(masks):
                image = Image.fromarray(colours[labels])
                (image if kind == "rgb" else image.quantize(8)).save(tmp_path / kind / name / f"{t:05d}.png")
        with pytest.raises(InputError, match="colours outside the DAVIS palette"):
            find_masks(tmp_path / kind, benchmark(tmp_path / kind).sequences)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_only_pngs_are_masks(tmp_path, suffix):
    folder = predictions(tmp_path / "p", TRUTH)
    for file in sorted(folder.rglob("*.png")):
        Image.fromarray(read_mask(file) * np.uint8(255)).save(file.with_suffix(suffix))
        file.unlink()
    write_mask(folder / "a" / "00001.png", TRUTH["a"][1])
    archive = zipped(tmp_path / "p.zip", folder)
    sequences = benchmark(tmp_path).sequences
    with pytest.raises(InputError, match=rf"only PNGs are masks, not the \{suffix} there"):
        find_masks(folder, sequences)
    with pytest.raises(InputError, match="give one mask a frame"):
        find_masks(archive, sequences)

"""Which mask is of which frame, and what is told where another may be meant."""

from pathlib import Path

import numpy as np
import pytest

from stesa_cli.masks import write_mask
from stesa_cli.segmentation.mask_options import masks_by_frame

FROM_5 = [f"{i:05d}" for i in range(5, 15)]
FROM_0 = [f"{i:05d}" for i in range(10)]


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mask(name: str) -> str:
    write_mask(Path(name), np.ones((4, 4), np.uint8))
    return name


def placed(*options: str, names: list[str] | None = None) -> tuple[dict[int, list[tuple[str, int | None]]], list[str]]:
    found, problems, notes = masks_by_frame(options, names or [])
    assert not problems
    return {t: [(each.path.name, each.id) for each in masks] for t, masks in found.items()}, notes


def test_a_number_that_is_the_name_of_another_frame_is_told_of() -> None:
    mask("00008.png"), mask("better.png")
    for name in ("00008.png", "better.png"):
        found, notes = placed(f"8={name}", names=FROM_5)
        assert list(found) == [8]
        assert notes == [
            f"mask {name}: frame 8 is the one named 00013, as frames count from 0: the one named 00008 is 3"
        ]
        assert not placed(f"8={name}", names=FROM_0)[1]
    assert "the one named 00008 is 8" in placed("7=00008.png", names=FROM_0)[1][0]
    assert "frame 12 is not there" in placed("12=better.png", names=FROM_5)[1][0]
    assert "frame 99 is not there, as frames count from 0" in placed("99=better.png", names=FROM_5)[1][0]
    assert not placed("8=00008.png", names=[])[1]


def test_a_numbered_mask_that_goes_to_the_first_frame_is_told_of() -> None:
    mask("00003.png"), mask("first2.png"), mask("00000.png")
    found, notes = placed("00003.png", names=FROM_5)
    assert list(found) == [0] and "no frame has its name, so it is taken for frame 0 (00005)" in notes[0]
    found, notes = placed("00003.png")
    assert list(found) == [0] and "taken for frame 0, whatever its name: for another, write 3=00003.png" in notes[0]
    assert "write 3=frame_0003.png" in placed(mask("frame_0003.png"))[1][0]
    for name in ("first2.png", "00000.png"):
        assert not placed(name)[1]
    assert not placed("first2.png", names=FROM_5)[1]


def test_the_word_for_a_mask_is_not_of_the_name() -> None:
    for name in ("00008_mask.png", "gt_00008.png", "00008.label.png"):
        found, notes = placed(mask(name), names=FROM_5)
        assert list(found) == [3] and "is of frame 3, as its name says" in notes[0]
    mask("masks/00005_mask.png"), mask("masks/00008_mask.png")
    assert list(placed("masks", names=FROM_5)[0]) == [0, 3]
    assert list(placed("masks")[0]) == [5, 8]


def test_a_folder_of_masks_that_goes_by_numbers_is_told_of() -> None:
    mask("masks/00000.png"), mask("masks/00003.png")
    found, notes = placed("masks", names=FROM_5)
    assert list(found) == [0, 3] and "go by their numbers, from 0: 00000.png is of frame 0 (00005)" in notes[0]
    assert not placed("masks", names=FROM_0)[1]
    assert not placed("masks")[1]


@pytest.mark.parametrize("form", ["{:05d}_{}.png", "{:05d}_obj_{}.png", "frame{:05d}-object{}.png"])
@pytest.mark.parametrize("names", [[], FROM_0], ids=["video", "folder"])
def test_one_file_a_frame_and_object(form: str, names: list[str]) -> None:
    for t in (0, 3):
        for i in (1, 2):
            mask("masks/" + form.format(t, i))
    found, _ = placed("masks", names=names)
    assert {t: [i for _, i in masks] for t, masks in found.items()} == {0: [1, 2], 3: [1, 2]}


def test_a_mask_of_frame_and_object_goes_by_the_name_of_the_frame() -> None:
    mask("00008_1.png"), mask("00008_2.png")
    found, notes = placed("00008_1.png", "00008_2.png", names=FROM_5)
    assert found == {3: [("00008_1.png", 1), ("00008_2.png", 2)]} and "is of frame 3" in notes[0]


def test_names_that_may_be_read_either_way_are_refused() -> None:
    mask("masks/1_2.png"), mask("masks/2_1.png")
    _, [problem], _ = masks_by_frame(["masks"])
    assert "1_2.png and the like may be of frame 1, object 2, or the reverse" in problem


def test_names_that_end_in_the_frame_stay_so() -> None:
    mask("masks/clip7_00000.png"), mask("masks/clip7_00004.png")
    assert list(placed("masks")[0]) == [0, 4]
    mask("objects/car2_object_1.png"), mask("objects/car2_object_2.png")
    assert list(placed("objects")[0]) == [0]


def test_what_is_no_mask_of_a_frame_is_one_line() -> None:
    mask("masks/00000_1.png"), mask("masks/00077_1.png")
    _, [problem], _ = masks_by_frame(["masks"], FROM_0)
    assert problem.startswith("masks/00077_1.png: no frame has its name")

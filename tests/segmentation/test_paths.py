"""Which videos are meant, which masks are theirs, where their results go."""

from pathlib import Path

import pytest

from stesa_cli.errors import InputError
from stesa_cli.segmentation.paths import find_inputs, masks_for, outputs_for

ODD = "-o ünïcödé 視頻 [1].mp4"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def test_files_folders_and_patterns_each_once() -> None:
    touch("clips/2.mp4", "clips/10.mp4", "clips/1.mp4", "clips/note.txt", "frames/0.png", ODD)
    found = find_inputs(["clips/10.mp4", "clips/*.mp4", "frames", "./clips/1.mp4", Path(ODD)])
    assert found == [Path(name) for name in ("clips/10.mp4", "clips/1.mp4", "clips/2.mp4", "frames", ODD)]
    touch("clips/deep/er/3.mp4")
    assert find_inputs(["clips/**/3.mp4", str(Path("clips/2.mp4").resolve())]) == [
        Path("clips/deep/er/3.mp4"),
        Path("clips/2.mp4").resolve(),
    ]


def test_what_is_missing_is_told_at_once() -> None:
    touch("a.mp4")
    with pytest.raises(InputError) as caught:
        find_inputs(["gone.mp4", "a.mp4", "*.mkv"])
    assert "gone.mp4: no such video" in str(caught.value)
    assert "*.mkv: this pattern matches nothing" in str(caught.value)


def test_the_mask_beside_a_video() -> None:
    touch("a.b.mp4", "a.b.png", ODD, "-o ünïcödé 視頻 [1].png", "shot.1/0.png", "shot.1.png", "bare.mp4")
    assert masks_for(Path("a.b.mp4"), []) == ("a.b.png",)
    assert masks_for(Path(ODD), []) == ("-o ünïcödé 視頻 [1].png",)
    assert masks_for(Path("shot.1/"), []) == ("shot.1.png",)
    assert masks_for(Path("a.b.mp4"), [], boxed=True) == ()
    with pytest.raises(InputError, match=r"bare\.mp4: no mask is given; .* in bare\.png"):
        masks_for(Path("bare.mp4"), [])
    with pytest.raises(InputError, match="camera 0: no mask is given"):
        masks_for(0, [])


def test_the_folder_one_stands_in_has_a_name(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    touch("frames/0.png", "frames.png")
    monkeypatch.chdir("frames")
    assert masks_for(Path(), []) == (str(here / "frames.png"),)
    assert outputs_for([Path()], None) == {Path(): here / "frames_stesa"}


def test_masks_in_a_folder() -> None:
    touch("a.mp4", "b.mp4", "c.mp4", "masks/a.png", "masks/b/00000.png", "3=x.png")
    assert masks_for(Path("a.mp4"), ["masks"]) == ("masks/a.png",)
    assert masks_for(Path("b.mp4"), ["masks"]) == ("masks/b",)
    assert masks_for(Path("c.mp4"), ["masks", "5=masks/a.png", "3=x.png"]) == ("masks", "5=masks/a.png", "3=x.png")
    assert masks_for(0, ["masks/a.png"]) == ("masks/a.png",)
    assert masks_for(Path("a.mp4"), ["masks"], several=True) == ("masks/a.png",)
    assert masks_for(Path("c.mp4"), ["masks/a.png"], several=True) == ("masks/a.png",)
    with pytest.raises(InputError, match=r"masks: holds no mask of c\.mp4; put it there as c\.png"):
        masks_for(Path("c.mp4"), ["masks"], several=True)


def test_where_results_go() -> None:
    touch("in/a.mp4", "in/frames.1/0.png", ODD)
    a, frames, odd = Path("in/a.mp4"), Path("in/frames.1"), Path(ODD)
    assert outputs_for([a, frames, odd], None) == {
        a: Path("in/a_stesa"),
        frames: Path("in/frames.1_stesa"),
        odd: Path("-o ünïcödé 視頻 [1]_stesa"),
    }
    assert outputs_for([a], Path("out")) == {a: Path("out")}
    assert outputs_for([a, frames], Path("out")) == {a: Path("out/a"), frames: Path("out/frames.1")}
    assert outputs_for([1], None) == {1: Path("camera1_stesa")}


def test_two_videos_with_one_folder_are_refused() -> None:
    touch("x/a.mp4", "x/a.mkv", "y/a.mp4")
    with pytest.raises(InputError, match=r"x/a_stesa: would hold the results of both x/a\.mp4 and x/a\.mkv"):
        outputs_for([Path("x/a.mp4"), Path("x/a.mkv"), Path("y/a.mp4")], None)
    with pytest.raises(InputError, match="out/a: would hold"):
        outputs_for([Path("x/a.mp4"), Path("y/a.mp4")], Path("out"))

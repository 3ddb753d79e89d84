"""Which videos are meant, which masks are theirs, where their results go."""

import os
from pathlib import Path

import pytest

from stesa_cli.errors import InputError
from stesa_cli.segmentation.mask_options import mask_files
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


def test_the_mask_beside_a_video_is_of_its_first_frame_whatever_its_name() -> None:
    """Neither the name of a frame nor the case of the suffix matters."""
    touch("3/0.png", "3.png", "007.mp4", "007.png", "UP.MP4", "UP.PNG", "masks/3.png")
    assert masks_for(Path("3"), []) == ("0=3.png",)
    assert masks_for(Path("3"), ["masks"]) == ("0=masks/3.png",)
    assert masks_for(Path("007.mp4"), []) == ("0=007.png",)
    assert masks_for(Path("UP.MP4"), []) == ("UP.PNG",)


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


def test_brackets_in_a_name_are_taken_as_they_are_written() -> None:
    touch("a [b]1.mp4", "a [b]2.mp4", "a b3.mp4", "[x]/c.mp4", "clip1.mp4", "clip2.mp4", "clip3.mp4")
    assert find_inputs(["a [b]*.mp4"]) == [Path("a [b]1.mp4"), Path("a [b]2.mp4")]
    assert find_inputs(["[x]/*.mp4"]) == [Path("[x]/c.mp4")]
    assert find_inputs(["clip[12].mp4"]) == [Path("clip1.mp4"), Path("clip2.mp4")]


def test_addresses_are_said_in_one_line() -> None:
    for address in ("https://example.org/a.mp4?x=[1]*", "rtsp://10.0.0.1/live", "http:/example.org/a.mp4"):
        with pytest.raises(InputError, match="addresses are not read; save the stream"):
            find_inputs([address])


def test_names_that_are_too_long_or_not_utf_8() -> None:
    long = Path("é" * 125 + "a.mp4")
    touch(str(long))
    [folder] = outputs_for([long], None).values()
    assert len(folder.name.encode()) <= 255 and folder.name == "é" * 124 + "_stesa"
    folder.mkdir()
    with pytest.raises(InputError, match="no mask is given"):
        masks_for(long, [])
    with pytest.raises(InputError, match="no such video"):
        find_inputs(["a" * 300 + ".mp4"])
    deep = Path("f" * 255)
    deep.mkdir()
    with pytest.raises(InputError, match="no mask is given"):
        masks_for(deep, [])
    latin = Path(os.fsdecode(b"caf\xe9.mp4"))
    assert outputs_for([latin], None) == {latin: Path("caf__stesa")}
    assert outputs_for([latin, Path("b.mp4")], Path("out"))[latin] == Path("out/caf_")
    str(InputError("is broken", latin)).encode()


def test_results_among_the_frames_are_refused() -> None:
    touch("frames/0.png")
    with pytest.raises(InputError, match="frames: holds the frames, among which results would be taken for some"):
        outputs_for([Path("frames")], Path("frames"))
    assert outputs_for([Path("frames")], Path("frames/out")) == {Path("frames"): Path("frames/out")}


def test_given_masks_that_are_files() -> None:
    touch("a.png", "b/0.png", "5=c.png")
    assert mask_files(["a.png", "b", "7=a.png", "gone.png", "5=c.png"]) == [
        Path("a.png"),
        Path("a.png"),
        Path("5=c.png"),
    ]


def test_results_of_a_name_with_control_characters_get_a_plain_one() -> None:
    assert outputs_for([Path("a\nb.mp4")], None) == {Path("a\nb.mp4"): Path("a_b_stesa")}

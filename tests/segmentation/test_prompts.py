"""Masks and boxes as the user gives them: what is taken, what is noted, what is refused."""

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from stesa_cli.errors import InputError
from stesa_cli.masks import write_mask
from stesa_cli.segmentation.prompts import Box, Given, parse_box_option, parse_mask_option

SIZE = (48, 64)
FRAME = np.zeros((*SIZE, 3), np.uint8)


def mask(path: Path, *ids: int, size: tuple[int, int] = SIZE) -> str:
    """A mask whose objects are columns of 8 by 10 pixels."""
    labels = np.zeros(size, np.uint8)
    for place, i in enumerate(ids):
        labels[10:20, 4 + 10 * place : 12 + 10 * place] = i
    write_mask(path, labels)
    return str(path)


def refusal(masks: list[str], boxes: list[str] | None = None, min_area: int = 0) -> str:
    with pytest.raises(InputError) as caught:
        Given(masks, boxes or [], SIZE, min_area)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def ids(labels: np.ndarray | None) -> list[int]:
    assert labels is not None and labels.shape == SIZE and labels.dtype == np.uint8
    return np.unique(labels[labels > 0]).tolist()


def test_mask_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_mask_option("a.png") == (None, Path("a.png"))
    assert parse_mask_option("30=dir/a b=c.png") == (30, Path("dir/a b=c.png"))
    assert parse_mask_option("take=2.png") == (None, Path("take=2.png"))
    mask(Path("7=a.png"), 1)
    assert parse_mask_option("7=a.png") == (None, Path("7=a.png"))
    assert parse_mask_option("7=b.png") == (7, Path("b.png"))


def test_box_options() -> None:
    assert parse_box_option("3=1,2,30,40") == Box(3, 1, 2, 30, 40)
    assert parse_box_option("3@57 = 1,2, 30,40") == Box(3, 1, 2, 30, 40, frame=57)
    for text in (
        "1=1,2,3",
        "1,2,3,4",
        "1@=1,2,3,4",
        "1@-1=1,2,3,4",
        "0=1,2,3,4",
        "255=1,2,3,4",
        "1=1,2,0,4",
        "1=-1,2,3,4",
        "a=1,2,3,4",
    ):
        with pytest.raises(InputError, match="is no box"):
            parse_box_option(text)


def test_masks_of_several_frames_are_read_when_asked_for(tmp_path: Path) -> None:
    given = Given([mask(tmp_path / "a.png", 1, 2), f"30={mask(tmp_path / 'b.png', 3)}"], [], SIZE)
    assert given.frames == [0, 30]
    assert ids(given.labels(0, FRAME)) == [1, 2] and given.labels(1, FRAME) is None
    mask(tmp_path / "b.png", 4)
    assert ids(given.labels(30, FRAME)) == [4] and given.notes == []


def test_a_folder_names_its_frames(tmp_path: Path) -> None:
    for name, i in [("00012.png", 5), ("take 2 frame_7.png", 6), ("clip1_100.PNG", 7)]:
        mask(tmp_path / name, i)
    (tmp_path / "notes.txt").write_text("no mask")
    given = Given([str(tmp_path)], [], SIZE)
    assert given.frames == [7, 12, 100]
    assert [ids(given.labels(frame, FRAME)) for frame in given.frames] == [[6], [5], [7]]


def test_the_first_frame_is_the_first_with_an_object(tmp_path: Path) -> None:
    for frame, i in [(0, 0), (1, 0), (2, 4), (3, 0)]:
        mask(tmp_path / f"{frame}.png", i)
    given = Given([str(tmp_path)], [], SIZE)
    assert given.frames == [2, 3]
    assert given.labels(0, FRAME) is None and ids(given.labels(2, FRAME)) == [4] and given.labels(3, FRAME) is None


def test_small_objects_are_noted_or_dropped(tmp_path: Path) -> None:
    labels = np.zeros((480, 640), np.uint8)
    labels[10:100, 10:100], labels[200, 200:212] = 1, 8
    write_mask(tmp_path / "a.png", labels)
    image = np.zeros((480, 640, 3), np.uint8)
    kept = Given([str(tmp_path / "a.png")], [], labels.shape)
    for _ in range(2):  # asked twice, said once
        assert ids_of(kept, image) == [1, 8]
    assert [note.partition("a.png: ")[2] for note in kept.notes] == [
        "id 8 has 12 px: a stray edge? drop it with --min-area 13"
    ]
    dropped = Given([str(tmp_path / "a.png")], [], labels.shape, min_area=13)
    assert ids_of(dropped, image) == [1] and dropped.notes == []
    assert "holds no object of 99 px or more" in refusal([mask(tmp_path / "b.png", 1)], min_area=99)


def ids_of(given: Given, image: np.ndarray) -> list[int]:
    labels = given.labels(0, image)
    assert labels is not None
    return np.unique(labels[labels > 0]).tolist()


def test_id_255_is_unknown_unless_it_is_alone(tmp_path: Path) -> None:
    both = Given([mask(tmp_path / "a.png", 1, 255)], [], SIZE)
    assert ids(both.labels(0, FRAME)) == [1, 255] and "80 px of id 255 belong to no object" in both.notes[0]
    alone = Given([mask(tmp_path / "b.png", 255)], [], SIZE)
    assert ids(alone.labels(0, FRAME)) == [1] and alone.notes == []


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    mask(folder / "nameless.png", 1)
    (tmp_path / "text.png").write_text("no image")
    line = refusal(
        [
            str(tmp_path / "gone.png"),
            f"0={mask(tmp_path / 'twice.png', 1)}",
            f"1={mask(tmp_path / 'small.png', 1, size=(30, 50))}",
            f"2={tmp_path / 'text.png'}",
            str(folder),
        ],
        ["1=50,10,20,20", "2=1,2,3", "1=1,1,5,5"],
    )
    for words in (
        "gone.png: no such mask",
        "frame 0 has two masks",
        "small.png: is 50×30, but the video 64×48; give a mask of the video's size, as it is seen upright",
        "text.png: cannot be read as an image",
        "nameless.png: its name tells no frame",
        "--box 1=50,10,20,20: reaches out of the frame of 64×48",
        "'2=1,2,3' is no box",
        "--box 1=1,1,5,5: the id is that of --box 1=50,10,20,20",
    ):
        assert words in line


def test_what_shows_no_object_is_refused(tmp_path: Path) -> None:
    assert "no object is given" in refusal([])
    assert "empty.png: holds no object; mark" in refusal([mask(tmp_path / "empty.png")])
    assert "the id is that of an object in" in refusal([mask(tmp_path / "a.png", 4)], ["4=30,30,10,10"])
    (tmp_path / "folder").mkdir()
    assert "no masks in this folder" in refusal([str(tmp_path / "folder")])


def scene(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright noisy ellipse on a dark noisy ground, and where it is: 1."""
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    shape = np.zeros((height, width), np.uint8)
    cv2.ellipse(shape, (width // 2, height // 2), (width // 6, height // 5), 20, 0, 360, 1, cv2.FILLED)
    return (noise + 60 + 120 * shape[..., None]).astype(np.uint8), shape


@pytest.mark.parametrize("size", [(96, 72), (3840, 2160)])
def test_a_box_finds_the_object_in_it(size: tuple[int, int]) -> None:
    image, truth = (cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in scene(96, 72))
    width, height = size
    box = [width // 4, height // 4, width // 2, height // 2]
    given = Given([], ["3={},{},{},{}".format(*box)], (height, width))
    assert given.frames == [0]
    begun = time.process_time()
    labels = given.labels(0, image)
    assert time.process_time() - begun < 2
    assert labels is not None and np.unique(labels).tolist() == [0, 3]
    assert (truth & (labels == 3)).sum() / (truth | (labels == 3)).sum() > 0.9
    assert given.boxes == [{"id": 3, "frame": 0, "box": box, "area": int((labels == 3).sum())}]


def test_boxes_take_nothing_from_others(tmp_path: Path) -> None:
    image, truth = scene(64, 48)
    first = np.zeros(SIZE, np.uint8)
    first[:, :32] = 5
    write_mask(tmp_path / "9.png", first)
    given = Given([str(tmp_path)], ["1@9=16,12,32,24", "2@9=16,12,32,30"], SIZE)
    labels = given.labels(9, image)
    assert labels is not None and (labels[:, :32] == 5).all()
    half = truth & (first == 0)
    assert (half & (labels == 1)).sum() / (half | (labels == 1)).sum() > 0.8
    assert (labels == 2).any() and given.labels(0, image) is None
    covered = Given([str(tmp_path)], ["1@9=2,2,10,10"], SIZE)
    with pytest.raises(InputError, match=r"--box 1@9=2,2,10,10: other objects cover it"):
        covered.labels(9, image)


def test_boxes_belong_to_their_frames(tmp_path: Path) -> None:
    image, _ = scene(64, 48)
    later = mask(tmp_path / "better.png", 1)
    given = Given([f"57={later}"], ["1=16,12,32,24", "1@8=16,12,32,24", "2@8=2,2,9,9"], SIZE)
    assert given.frames == [0, 8, 57]
    assert [ids(given.labels(frame, image)) for frame in given.frames] == [[1], [1, 2], [1]]
    assert [box["frame"] for box in given.boxes] == [0, 8, 8]


def test_masks_go_by_the_names_of_the_frames(tmp_path: Path) -> None:
    mask(tmp_path / "00000.png", 1), mask(tmp_path / "00005.png", 2)
    names = ["00000", "00005", "00010"]
    assert Given([str(tmp_path)], [], SIZE, names=names).frames == [0, 1]
    assert Given([str(tmp_path)], [], SIZE, names=["a", "b"]).frames == [0, 5]
    mask(tmp_path / "00003.png", 2)
    with pytest.raises(InputError, match=r"00003\.png: no frame has its name"):
        Given([str(tmp_path)], [], SIZE, names=names)


@pytest.mark.parametrize("box", ["1=0,0,64,48", "1=10,10,1,1", "1=63,47,1,1", "1=20,20,3,2", "1=5,30,50,1"])
def test_a_box_that_tells_nothing_gives_its_ellipse(box: str) -> None:
    given = Given([], [box], SIZE)
    labels = given.labels(0, FRAME + 90)
    x, y, width, height = given.boxes[0]["box"]
    area = given.boxes[0]["area"]
    assert labels is not None and area == (labels[y : y + height, x : x + width] == 1).sum() == (labels > 0).sum()
    assert area >= 0.7 * width * height


def test_the_same_box_gives_the_same_object() -> None:
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    a, b = (Given([], ["1=10,10,30,30"], SIZE).labels(0, image) for _ in range(2))
    assert a is not None and b is not None and (a == b).all()


def test_it_needs_no_torch() -> None:
    code = "import sys, stesa_cli.segmentation.prompts, stesa_cli.segmentation.paths; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

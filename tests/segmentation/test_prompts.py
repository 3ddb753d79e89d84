"""Masks and boxes as the user gives them: what is taken, what is noted, what is refused."""

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.masks import read_mask, write_mask
from stesa_cli.segmentation.boxes import Box, parse_box_option
from stesa_cli.segmentation.mask_options import parse_mask_option
from stesa_cli.segmentation.prompts import Prompts

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
        Prompts(masks, boxes or [], SIZE, min_area)
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
    given = Prompts([mask(tmp_path / "a.png", 1, 2), f"30={mask(tmp_path / 'b.png', 3)}"], [], SIZE)
    assert given.frames == (0, 30)
    assert ids(given.labels(0, FRAME).labels) == [1, 2] and given.labels(1, FRAME).labels is None
    mask(tmp_path / "b.png", 4)
    assert ids(given.labels(30, FRAME).labels) == [4] and given.notes == ()


def test_a_folder_names_its_frames(tmp_path: Path) -> None:
    for name, i in [("00012.png", 5), ("take 2 frame_7.png", 6), ("clip1_100.PNG", 7)]:
        mask(tmp_path / name, i)
    (tmp_path / "notes.txt").write_text("no mask")
    given = Prompts([str(tmp_path)], [], SIZE)
    assert given.frames == (7, 12, 100)
    assert [ids(given.labels(frame, FRAME).labels) for frame in given.frames] == [[6], [5], [7]]


def test_the_first_frame_is_the_first_with_an_object(tmp_path: Path) -> None:
    for frame, i in [(0, 0), (1, 0), (2, 4), (3, 0)]:
        mask(tmp_path / f"{frame}.png", i)
    given = Prompts([str(tmp_path)], [], SIZE)
    assert given.frames == (2, 3)
    assert (
        given.labels(0, FRAME).labels is None
        and ids(given.labels(2, FRAME).labels) == [4]
        and given.labels(3, FRAME).labels is None
    )


def test_small_objects_are_noted_or_dropped(tmp_path: Path) -> None:
    labels = np.zeros((480, 640), np.uint8)
    labels[10:100, 10:100], labels[200, 200:212] = 1, 8
    write_mask(tmp_path / "a.png", labels)
    image = np.zeros((480, 640, 3), np.uint8)
    kept = Prompts([str(tmp_path / "a.png")], [], labels.shape)
    assert ids_of(kept, image) == [1, 8]
    assert [note.partition("a.png: ")[2] for note in kept.notes] == [
        "id 8 has 12 px: a stray edge? drop it with --min-area 13"
    ]
    dropped = Prompts([str(tmp_path / "a.png")], [], labels.shape, min_area=13)
    assert ids_of(dropped, image) == [1] and dropped.notes == ()
    assert "holds no object of 99 px or more" in refusal([mask(tmp_path / "b.png", 1)], min_area=99)


def ids_of(given: Prompts, image: np.ndarray) -> list[int]:
    labels = given.labels(0, image).labels
    assert labels is not None
    return np.unique(labels[labels > 0]).tolist()


def test_id_255_is_unknown_unless_it_is_alone(tmp_path: Path) -> None:
    both = Prompts([mask(tmp_path / "a.png", 1, 255)], [], SIZE)
    assert ids(both.labels(0, FRAME).labels) == [1, 255] and "80 px of id 255 belong to no object" in both.notes[0]
    alone = Prompts([mask(tmp_path / "b.png", 255)], [], SIZE)
    assert ids(alone.labels(0, FRAME).labels) == [1] and alone.notes == ()


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    mask(folder / "nameless.png", 1), mask(folder / "00009.png", 1)
    (tmp_path / "text.png").write_text("no image")
    line = refusal(
        [
            str(tmp_path / "gone.png"),
            f"4={mask(tmp_path / 'one.png', 1)}",
            f"4={mask(tmp_path / 'ids.png', 1, 2)}",
            f"1={mask(tmp_path / 'small.png', 1, size=(30, 50))}",
            f"2={tmp_path / 'text.png'}",
            str(folder),
        ],
        ["1=50,10,20,20", "2=1,2,3", "1=1,1,5,5"],
    )
    for words in (
        "gone.png: no such mask",
        "ids.png: holds 2 objects, and its frame has other masks",
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


def binary(path: Path, *columns: int) -> str:
    """One object, 0 or 255, of some of the columns that ``mask`` makes."""
    labels = np.zeros(SIZE, np.uint8)
    for column in columns:
        labels[10:20, 4 + 10 * column : 12 + 10 * column] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)
    return str(path)


def test_one_file_an_object_is_joined_in_the_order_given(tmp_path: Path) -> None:
    a, b = binary(tmp_path / "z.png", 0), binary(tmp_path / "b.png", 2)
    expected = read_mask(mask(tmp_path / "both" / "m.png", 1, 0, 2))
    for options in ([a, b], [f"7={a}", f"7={b}"]):
        given = Prompts(options, [], SIZE)
        labels = given.labels(given.frames[0], FRAME).labels
        assert (labels == expected).all() and given.notes == ("masks of one frame are joined: 1 is z.png, 2 is b.png",)
    over = Prompts([a, b, binary(tmp_path / "c.png", 1, 2)], [], SIZE)
    labels = over.labels(0, FRAME).labels
    assert labels is not None and (labels[10:20, 24:32] == 3).all() and ids(labels) == [1, 3]
    assert over.notes[1] == "mask c.png: lies on 80 px of objects given before it, and is taken to be on top"
    own = Prompts([mask(tmp_path / "x.png", 0, 9), mask(tmp_path / "y.png", 4)], [], SIZE)
    assert ids(own.labels(0, FRAME).labels) == [4, 9]


@pytest.mark.parametrize(
    "names", [("ball", "box"), ("object_1", "object_2"), ("task-3-annotation-8-by-2-tag-a-0",) * 2]
)
def test_a_folder_with_one_file_an_object(tmp_path: Path, names: tuple[str, str]) -> None:
    if names[0] == names[1]:
        names = (names[0], names[0].replace("-a-0", "-b-1"))
    folder = tmp_path / "given"
    for column, name in enumerate(names):
        binary(folder / f"{name}.png", column)
    expected = read_mask(mask(tmp_path / "both.png", 1, 2))
    given = Prompts([str(folder)], [], SIZE)
    assert given.frames == (0,) and (given.labels(0, FRAME).labels == expected).all() and "are joined" in given.notes[0]
    later = Prompts([f"5={folder}"], [], SIZE)
    assert later.frames == (5,) and (later.labels(5, FRAME).labels == expected).all()


def test_a_folder_of_jpegs_in_black_and_white(tmp_path: Path) -> None:
    for number in (3, 5):
        path = binary(tmp_path / f"{number}.png", number - 3)
        Image.open(path).save(tmp_path / f"{number}.jpg", quality=95)
        Path(path).unlink()
    given = Prompts([str(tmp_path)], [], SIZE)
    assert given.frames == (3, 5) and ids(given.labels(5, FRAME).labels) == [1]


@pytest.mark.parametrize(("folders", "expected"), [("3 12", [3, 12]), ("000 001", [1, 2]), ("cat dog", [1, 2])])
def test_a_folder_for_each_object(tmp_path: Path, folders: str, expected: list[int]) -> None:
    for column, name in enumerate(folders.split()):
        binary(tmp_path / name / "00000.png", column)
        binary(tmp_path / name / "00004.png", *[column] * column)  # the first is gone by then
    given = Prompts([str(tmp_path)], [], SIZE)
    assert given.frames == (0, 4) and ids(given.labels(0, FRAME).labels) == expected
    assert ids(given.labels(4, FRAME).labels) == expected[1:]
    assert (given.labels(0, FRAME).labels[10:20, 4:12] == expected[0]).all()


def test_what_may_be_the_background_is_told_of(tmp_path: Path) -> None:
    labels = np.ones(SIZE, np.uint8)
    labels[10:20, 10:20] = 0
    write_mask(tmp_path / "a.png", labels)
    [note] = Prompts([str(tmp_path / "a.png")], [], SIZE).notes
    assert "object 1 covers 97 % and touches all four sides: if that is the background, invert the mask" in note
    labels[0] = 0
    write_mask(tmp_path / "a.png", labels)
    assert Prompts([str(tmp_path / "a.png")], [], SIZE).notes == ()


def test_what_a_file_does_not_say_is_noted_before_the_work(tmp_path: Path) -> None:
    soft = np.zeros(SIZE, np.uint8)
    cv2.circle(soft, (30, 20), 12, 255, cv2.FILLED)
    Image.fromarray(cv2.GaussianBlur(soft, (0, 0), 2)).save(tmp_path / "4.png")
    given = Prompts([mask(tmp_path / "0.png", 1, 2), f"4={tmp_path / '4.png'}"], [], SIZE)
    assert given.notes == (
        f"mask {tmp_path / '4.png'}: a grey image with smooth edges is one object, cut at level 128",
    )
    assert ids(given.labels(4, FRAME).labels) == [1]
    assert given.describe() == "mask 0.png: 2 objects (1: 80 px, 2: 80 px); 1 later frame with masks or boxes"


def test_every_mask_is_looked_at_before_the_work(tmp_path: Path) -> None:
    options = [f"{i}={mask(tmp_path / f'{i}.png', 1)}" for i in range(4)]
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[:-40])
    mask(tmp_path / "2.png", 1, size=(9, 9))
    line = refusal(options)
    assert "3.png: cannot be read" in line and "2.png: is 9×9" in line


def test_a_mask_named_after_a_frame_is_of_that_frame(tmp_path: Path) -> None:
    names = ["00001", "00002", "00003"]
    given = Prompts([mask(tmp_path / "00003.png", 1)], [], SIZE, names=names)
    assert given.frames == (2,) and "is of frame 2, as its name says" in given.notes[0]
    assert Prompts([f"1={tmp_path / '00003.png'}"], [], SIZE, names=names).frames == (1,)
    assert Prompts([mask(tmp_path / "first.png", 1)], [], SIZE, names=names).frames == (0,)
    twice = Prompts([mask(tmp_path / "first.png", 1), f"2={tmp_path / 'first.png'}"], [], SIZE, names=names)
    assert twice.frames == (0, 2) and "frame 2 is the one named 00003" in twice.notes[0]


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
    given = Prompts([], ["3={},{},{},{}".format(*box)], (height, width))
    assert given.frames == (0,)
    begun = time.process_time()
    prompt = given.labels(0, image)
    labels = prompt.labels
    assert time.process_time() - begun < 2
    assert labels is not None and np.unique(labels).tolist() == [0, 3]
    assert (truth & (labels == 3)).sum() / (truth | (labels == 3)).sum() > 0.9
    assert prompt.boxes == ({"id": 3, "frame": 0, "box": box, "area": int((labels == 3).sum())},) and not prompt.notes


def test_boxes_take_nothing_from_others(tmp_path: Path) -> None:
    image, truth = scene(64, 48)
    first = np.zeros(SIZE, np.uint8)
    first[:, :32] = 5
    write_mask(tmp_path / "9.png", first)
    given = Prompts([str(tmp_path)], ["1@9=16,12,32,24", "2@9=16,12,32,30"], SIZE)
    labels = given.labels(9, image).labels
    assert labels is not None and (labels[:, :32] == 5).all()
    half = truth & (first == 0)
    assert (half & (labels == 1)).sum() / (half | (labels == 1)).sum() > 0.8
    assert (labels == 2).any() and given.labels(0, image).labels is None
    covered = Prompts([str(tmp_path)], ["1@9=2,2,10,10"], SIZE)
    with pytest.raises(InputError, match=r"--box 1@9=2,2,10,10: other objects cover it"):
        covered.labels(9, image)


def test_boxes_belong_to_their_frames(tmp_path: Path) -> None:
    image, _ = scene(64, 48)
    later = mask(tmp_path / "better.png", 1)
    given = Prompts([f"57={later}"], ["1=16,12,32,24", "1@8=16,12,32,24", "2@8=2,2,9,9"], SIZE)
    assert given.frames == (0, 8, 57)
    assert [ids(given.labels(frame, image).labels) for frame in given.frames] == [[1], [1, 2], [1]]
    assert [box["frame"] for frame in given.frames for box in given.labels(frame, image).boxes] == [0, 8, 8]


def test_masks_go_by_the_names_of_the_frames(tmp_path: Path) -> None:
    mask(tmp_path / "00000.png", 1), mask(tmp_path / "00005.png", 2)
    names = ["00000", "00005", "00010"]
    assert Prompts([str(tmp_path)], [], SIZE, names=names).frames == (0, 1)
    assert Prompts([str(tmp_path)], [], SIZE, names=["a", "b"]).frames == (0, 5)
    mask(tmp_path / "00003.png", 2)
    with pytest.raises(InputError, match=r"00003\.png: no frame has its name"):
        Prompts([str(tmp_path)], [], SIZE, names=names)


@pytest.mark.parametrize("box", ["1=0,0,64,48", "1=10,10,1,1", "1=63,47,1,1", "1=20,20,3,2", "1=5,30,50,1"])
def test_a_box_that_tells_nothing_gives_its_ellipse(box: str) -> None:
    given = Prompts([], [box], SIZE)
    prompt = given.labels(0, FRAME + 90)
    labels = prompt.labels
    x, y, width, height = prompt.boxes[0]["box"]
    area = prompt.boxes[0]["area"]
    assert f"--box {box}: no object stands out" in prompt.notes[0]
    assert labels is not None and area == (labels[y : y + height, x : x + width] == 1).sum() == (labels > 0).sum()
    assert area >= 0.7 * width * height


def test_the_same_box_gives_the_same_object() -> None:
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    a, b = (Prompts([], ["1=10,10,30,30"], SIZE).labels(0, image).labels for _ in range(2))
    assert a is not None and b is not None and (a == b).all()


def test_it_needs_no_torch() -> None:
    code = "import sys, stesa_cli.segmentation.prompts, stesa_cli.segmentation.paths; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

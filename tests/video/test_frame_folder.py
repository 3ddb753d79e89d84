"""Folders of frames as people have them: what is a frame, in what order, and what is told of before the first."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.video.reading import open_video

from ..clips import number_of, numbered

FIVE = [f"{i:05d}.jpg" for i in range(5)]


def save(folder: Path, *names: str, mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Path:
    """Numbered frames of these names."""
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        picture = Image.fromarray(numbered(i, *size))
        picture = picture.quantize(8) if mode == "P" else picture.convert(mode)
        options = {"quality": 95} if name.lower().endswith(("jpg", "jpeg")) else {}
        picture.save(folder / name, **options)
    return folder


def numbers(path: Path) -> list[int]:
    with open_video(path) as reader:
        return [number_of(frame.image) for frame in reader]


def refusal(folder: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_video(folder, **options)
    assert "\n" not in str(caught.value) and caught.value.fix
    return str(caught.value)


def test_the_same_frame_twice_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a", *FIVE, *[name.replace("jpg", "png") for name in FIVE])
    line = refusal(tmp_path / "a")
    assert "two files for frame 00000 (00000.jpg, 00000.png), and for 4 more; remove one kind" in line
    with open_video(tmp_path / "a", pattern="*.jpg") as reader:
        assert len(list(reader)) == 5
    assert "no images in this folder match *.bmp" in refusal(tmp_path / "a", pattern="*.bmp")
    save(tmp_path / "b", "0.jpg", "1.jpg", "1.JPEG")
    assert "two files for frame 1" in refusal(tmp_path / "b")


@pytest.mark.parametrize(
    ("names", "mode", "size"),
    [
        (["00000.png"], "P", (64, 48)),
        (["00000.png"], "L", (64, 48)),
        (["mask.png"], "L", (64, 48)),
        (["mask.jpg"], "RGB", (60, 40)),
        (["cut out.png"], "RGBA", (64, 48)),
        (["00000.png", "00001.png", "00002.png", "00003.png", "00004.png"], "P", (64, 48)),
        (["00000_mask.png", "00003_mask.png"], "1", (64, 48)),
    ],
)
def test_masks_among_the_frames_are_no_frames(
    tmp_path: Path, names: list[str], mode: str, size: tuple[int, int]
) -> None:
    save(save(tmp_path, *FIVE), *names, mode=mode, size=size)
    assert numbers(tmp_path) == list(range(5))
    with open_video(tmp_path) as reader:
        assert reader.notes == [f"{', '.join(names)}: no frame of this video, so left out"]
        assert reader.names == tuple(name[:5] for name in FIVE)


def test_a_given_mask_is_no_frame(tmp_path: Path) -> None:
    save(save(tmp_path, *FIVE), "red on black.png")
    with open_video(tmp_path) as reader:
        assert len(list(reader)) == 6 and "red on black.png: named unlike the other frames" in reader.notes[0]
    with open_video(tmp_path, not_frames=[tmp_path / "x" / ".." / "red on black.png"]) as reader:
        assert len(list(reader)) == 5 and "left out" in reader.notes[0]
    first = save(tmp_path / "png", "00000.png", mode="P")
    for i in (1, 2, 3):
        Image.fromarray(numbered(i)).save(first / f"{i:05d}.png")
    assert numbers(first) == [1, 2, 3]


def test_frames_of_few_colours_stay_frames(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(6)]
    save(save(save(tmp_path, *names), *names[:3], mode="P"), names[0], mode="L")
    with open_video(tmp_path) as reader:
        assert len(list(reader)) == 6 and reader.notes == []


def test_all_that_is_wrong_with_frames_is_said_before_the_first(tmp_path: Path) -> None:
    save(tmp_path, *[f"{i}.png" for i in range(10)])
    Image.new("RGB", (60, 40)).save(tmp_path / "2.png")
    (tmp_path / "4.png").write_bytes((tmp_path / "4.png").read_bytes()[:-30])
    (tmp_path / "6.png").write_text("no image")
    (tmp_path / "12.png").mkdir()
    line = refusal(tmp_path)
    for words in ("2.png: is 60x40", "4.png: cannot be read", "6.png: cannot be read", "12.png: is a folder"):
        assert words in line


@pytest.mark.parametrize(
    "names",
    [
        ["-2.png", "-1.png", "0.png", "1.png", "10.png"],
        ["0.5.png", "0.75.png", "1.2.png", "1.25.png"],
        ["a1.PNG", "A2.png", "a3.Png", "a010.png"],
        ["shot.9.jpg.png", "shot.10.jpg.png"],
        ["08.png", "9.png", "0010.png"],
        ["1403636579.763555.png", "1403636579.813555.png", "1403636580.013555.png"],
    ],
)
def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path, names: list[str]) -> None:
    save(save(tmp_path, *names), ".hidden.png", "._0.png")
    (tmp_path / "Thumbs.db").write_text("Windows was here")
    assert numbers(tmp_path) == list(range(len(names)))
    with open_video(tmp_path) as reader:
        assert reader.names == tuple(name[: name.rindex(".")] for name in names)


def test_gaps_in_the_numbers_are_told_of(tmp_path: Path) -> None:
    with open_video(save(tmp_path / "a", "00000.png", "00005.png", "00010.png")) as reader:
        assert reader.notes == []
    with open_video(save(tmp_path / "b", "f1.png", "f2.png", "f3.png", "f6.png")) as reader:
        assert reader.notes == ["the numbers of the frames jump: after f3 comes f6"]


@pytest.mark.parametrize(
    ("factor", "dtype", "kind"),
    [(257, np.uint16, "png"), (257, np.uint16, "tif"), (16, np.uint16, "tif"), (1 / 255, np.float32, "tif")],
)
def test_deep_frames_are_scaled_by_their_depth(tmp_path: Path, factor: float, dtype: type, kind: str) -> None:
    pictures = [numbered(i)[..., 1].astype(np.float64) for i in range(12)]
    for i, picture in enumerate(pictures):
        Image.fromarray((picture * factor).round(6).astype(dtype)).save(tmp_path / f"{i}.{kind}")
    with open_video(tmp_path) as reader:
        found = [frame.image for frame in reader]
        assert "become 0 to 255" in reader.notes[0]
    for image, picture in zip(found, pictures, strict=True):
        assert np.abs(image.astype(int) - picture[..., None]).max() <= 1


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_deep_colours_keep_their_depth(tmp_path: Path, kind: str) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.{kind}"), numbered(i)[..., ::-1].astype(np.uint16) * 16)  # 12 of 16 bits
    assert numbers(tmp_path) == [0, 1, 2]
    with open_video(tmp_path) as reader:
        assert np.abs(next(iter(reader)).image.astype(int) - numbered(0)).max() <= 1


def test_a_narrow_range_is_stretched(tmp_path: Path) -> None:
    values = np.linspace(20_000, 22_000, 48 * 64).reshape(48, 64)
    for i in range(3):
        Image.fromarray((values + 100 * i).astype(np.uint16)).save(tmp_path / f"{i}.png")
    with open_video(tmp_path) as reader:
        frames = [frame.image for frame in reader]
        assert reader.notes == ["frames of uint16: 20000 to 22200 become 0 to 255"]
    assert frames[0].min() == 0 and frames[2].max() == 255 and 8 < frames[1].min() < 14


def test_a_file_of_pages_is_a_video(tmp_path: Path) -> None:
    pages = [Image.fromarray(numbered(i)) for i in range(12)]
    for kind, options in {"tif": {}, "webp": {"lossless": True}}.items():
        pages[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=pages[1:], **options)
        assert numbers(tmp_path / f"a.{kind}") == list(range(12))
    deep = [Image.fromarray(numbered(i)[..., 1] * np.uint16(257)) for i in range(12)]
    deep[0].save(tmp_path / "b.tiff", save_all=True, append_images=deep[1:])
    with open_video(tmp_path / "b.tiff", Fraction(10)) as reader:
        images = [frame.image for frame in reader]
        assert reader.describe() == "64×48, 10 frames/s, 12 pages"
    assert all((image[..., 0] == numbered(i)[..., 1]).all() for i, image in enumerate(images))
    folder = save(tmp_path / "f", "1.png")
    pages[0].save(folder / "0.tif", save_all=True, append_images=pages[1:])
    assert "0.tif: holds 12 pages" in refusal(folder)


def test_addresses_are_not_read() -> None:
    for address in ("https://example.org/a.mp4", "rtsp://camera/1"):
        assert "addresses are not read" in refusal(address)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    chosen=st.lists(st.integers(0, 2000), min_size=1, max_size=12, unique=True),
    form=st.sampled_from(
        ["{}", "{:05d}", "{:03d}", "shot 2 frame {}", "IMG_{:04d}", "a.b-{}", "ünï {:02d} 視", "{}.5"]
    ),
    suffixes=st.lists(st.sampled_from([".png", ".PNG", ".Png"]), min_size=12, max_size=12),
    minus=st.booleans(),
    extra=st.lists(st.sampled_from(["._{}", ".{}", "{}.txt", "{}.png.part", "Thumbs.db", "desktop.ini"]), max_size=3),
    twice=st.booleans(),
)
def test_any_names_of_frames(
    tmp_path_factory: pytest.TempPathFactory,
    chosen: list[int],
    form: str,
    suffixes: list[str],
    minus: bool,
    extra: list[str],
    twice: bool,
) -> None:
    folder = tmp_path_factory.mktemp("frames")
    signed = [-number if minus and form[0] == "{" and form[-1] == "}" else number for number in chosen]
    names = [form.format(number) + suffix for number, suffix in zip(signed, suffixes, strict=False)]
    for number, name in enumerate(names):
        Image.fromarray(numbered(number)).save(folder / name, format="PNG")
    for pattern in extra:
        (folder / pattern.format(names[0])).write_bytes(b"nothing")
    if twice:
        Image.fromarray(numbered(0)).save(folder / f"{names[0][:-4]}.bmp")
        assert "two files for frame" in refusal(folder)
        return
    assert numbers(folder) == sorted(range(len(names)), key=lambda place: signed[place])


def test_pages_in_colour_keep_their_bits(tmp_path: Path) -> None:
    pages = [(numbered(t).astype(np.uint16) * 16)[..., ::-1] for t in range(3)]
    cv2.imwritemulti(str(tmp_path / "deep.tif"), [np.ascontiguousarray(page) for page in pages])
    with open_video(tmp_path / "deep.tif") as reader:
        found = [frame.image for frame in reader]
    for t, image in enumerate(found):
        assert np.abs(image.astype(int) - numbered(t)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("count", [1, 5])
def test_masks_that_are_called_so_are_no_frames(tmp_path: Path, mode: str, count: int) -> None:
    """They look as frames do."""
    save(tmp_path, *FIVE, mode=mode)
    save(tmp_path, *[f"{i:05d}_mask.png" for i in range(count)], mode=mode)
    with open_video(tmp_path) as reader:
        assert reader.frame_count == 5 and reader.names == tuple(name[:5] for name in FIVE)
    assert "00000_mask.png" in reader.notes[0] and "left out" in reader.notes[0]


def test_masks_alone_may_be_frames(tmp_path: Path) -> None:
    save(tmp_path, *[f"mask_{i}.png" for i in range(3)])
    assert numbers(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize(
    ("one", "other"),
    [("{}.png", "{}_depth.png"), ("left_{}.png", "right_{}.png"), ("{}_rgb.png", "{}_ir.png")],
)
def test_two_series_are_refused(tmp_path: Path, one: str, other: str) -> None:
    save(tmp_path, *map(one.format, range(4)))
    save(tmp_path, *map(other.format, range(4)))
    line = refusal(tmp_path)
    assert "two series of frames" in line
    pattern = line.split("--pattern '")[1][:-1]
    with open_video(tmp_path, pattern=pattern) as reader:
        assert reader.frame_count == 4


def test_numbers_with_signs_are_one_series(tmp_path: Path) -> None:
    save(tmp_path, *[f"{i:+d}.png" if i else "0.png" for i in range(-3, 4)])
    assert numbers(tmp_path) == list(range(7))


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_animations_keep_their_times(tmp_path: Path, name: str) -> None:
    first, *rest = [Image.fromarray(numbered(i)) for i in range(5)]
    options = {"duration": [100, 100, 300, 100, 50], "lossless": True}
    first.save(tmp_path / name, save_all=True, append_images=rest, **options)
    with open_video(tmp_path / name) as reader:
        frames = list(reader)
    assert [number_of(frame.image) for frame in frames] == list(range(5)) and reader.rate == 10
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.5, 0.6])


def test_a_broken_frame_names_its_path_once(tmp_path: Path) -> None:
    save(tmp_path, *FIVE)
    (tmp_path / FIVE[2]).write_bytes(b"nothing")
    assert refusal(tmp_path).count(FIVE[2]) == 1

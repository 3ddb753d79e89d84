"""Data sets as people have them: what cannot be trained on is left out, and told in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stesa_cli.data import davis, stills
from stesa_cli.data.check import check
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import InputError
from stesa_cli.masks import write_mask

from ..layouts import davis as lay_out
from ..layouts import squares


@pytest.fixture
def root(tmp_path):
    """Two sequences of four frames."""
    return lay_out(tmp_path, 2016, "train", {name: [squares(t, 1) for t in range(4)] for name in "ab"})


def checked(root: Path) -> tuple[dict[str, VideoSequence], str]:
    sequences, note = check(davis.sequences(root, 2016, "train"))
    return {sequence.name: sequence for sequence in sequences}, note


def test_sound_data_are_left_as_they_are(root):
    assert check(davis.sequences(root, 2016, "train")) == (davis.sequences(root, 2016, "train"), "")


def test_a_mask_of_another_size_than_its_image_is_left_out(root):
    mask = root / "Annotations/480p/a/00002.png"
    write_mask(mask, squares(2, 1)[:, ::2])
    found, note = checked(root)
    assert (
        note
        == f"left out are masks of another size than their image (1, such as {mask}: is 32×48, but its frame 64×48)"
    )
    assert [path is None for path in found["a"].annotations] == [False, False, True, False]
    assert len(found["a"].frames) == 4 and None not in found["b"].annotations


def test_a_frame_of_another_size_than_the_others_is_left_out(root):
    odd = root / "JPEGImages/480p/b/00000.jpg"
    Image.new("RGB", (32, 24)).save(odd)
    write_mask(root / "Annotations/480p/b/00000.png", squares(0, 1)[::2, ::2])
    found, note = checked(root)
    assert note == f"left out are frames of another size than the rest of their sequence (1, such as {odd})"
    assert [path is None for path in found["b"].annotations] == [True, False, False, False]


@pytest.mark.parametrize("where", ["JPEGImages/480p/a/00001.jpg", "Annotations/480p/a/00001.png"])
def test_a_file_that_is_no_image_is_left_out(root, where):
    (root / where).write_bytes(b"<html>503</html>")
    found, note = checked(root)
    assert note == f"left out are files that cannot be read (1, such as {root / where})"
    assert [path is None for path in found["a"].annotations] == [False, True, False, False]


def test_a_sequence_without_objects_is_left_out(root):
    for t in range(4):
        write_mask(root / f"Annotations/480p/a/{t:05d}.png", squares(t) + 255 * (t == 3))  # void is none
    found, note = checked(root)
    assert list(found) == ["b"] and note == "left out are sequences without objects (1, such as a)"


def test_the_only_object_may_come_late(root):
    for t in range(3):
        write_mask(root / f"Annotations/480p/a/{t:05d}.png", squares(t))
    assert list(checked(root)[0]) == ["a", "b"]


def test_all_of_a_source_is_in_one_line(root):
    (root / "JPEGImages/480p/a/00001.jpg").write_bytes(b"")
    for t in (1, 2):
        write_mask(root / f"Annotations/480p/b/{t:05d}.png", squares(t, 1)[:, ::2])
    note = checked(root)[1]
    assert note.startswith("left out are files that cannot be read (1, such as ") and "\n" not in note
    assert "; masks of another size than their image (2, such as " in note


GREY = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))


@pytest.mark.parametrize(
    ("save", "tolerance"),
    [
        (lambda path: Image.fromarray(GREY).save(path, "JPEG", quality=95), 3),
        (lambda path: Image.fromarray(GREY).convert("RGB").convert("CMYK").save(path, "JPEG", quality=95), 6),
        (lambda path: Image.fromarray(GREY.astype(np.uint16) * 257).save(path, "PNG"), 0),
        (lambda path: Image.fromarray(GREY.astype(np.uint16) * 257).save(path, "TIFF"), 0),
        (lambda path: Image.fromarray(GREY).convert("LA").save(path, "PNG"), 0),
        (lambda path: Image.fromarray(GREY).convert("P").save(path, "PNG"), 0),
    ],
    ids=["grey", "cmyk", "16-bit PNG", "16-bit TIFF", "grey with alpha", "palette"],
)
def test_every_kind_of_image_is_read_as_rgb(tmp_path, save: Callable[[Path], None], tolerance):
    path = tmp_path / "set/JPEGImages/one.jpg"
    path.parent.mkdir(parents=True)
    save(path)
    write_mask(tmp_path / "set/Annotations/one.png", np.eye(64, 96, dtype=np.uint8))
    (still,) = check(stills.sequences(tmp_path))[0]
    image = still.image(0)
    assert image.shape == (64, 96, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - GREY[..., None]).max() <= tolerance


@pytest.mark.filterwarnings("ignore:Tag data larger:UserWarning")
def test_a_broken_file_is_one_error(tmp_path):
    """Cut, or with bytes that another file has; whatever Pillow makes of it."""
    path, random = tmp_path / "x.png", np.random.default_rng(0)
    sequence, refused = VideoSequence("x", (path,), (None,)), 0
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "BMP"):
        Image.fromarray(GREY).save(path, kind)
        whole = path.read_bytes()
        for _ in range(60):
            spoilt = bytearray(whole)
            for at in random.integers(0, len(whole), 8):
                spoilt[at] = random.integers(256)
            path.write_bytes(spoilt[: random.integers(len(whole) // 2, len(whole))])
            try:
                assert sequence.image(0).shape[2] == 3
            except InputError as error:
                refused += str(error) == f"{path}: cannot be decoded as an image; copy the data again"
    assert refused > 30

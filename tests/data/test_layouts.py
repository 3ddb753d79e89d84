"""Data sets as people have them: YouTube-VOS and photographs, and the look at all of it before a run."""

import json

import numpy as np
import pytest
from PIL import Image

from stesa_cli.data import davis, stills, youtube_vos
from stesa_cli.data.check import require_sound
from stesa_cli.errors import InputError

from ..layouts import davis as davis_root
from ..layouts import squares
from ..layouts import youtube_vos as lay_out


@pytest.fixture
def photographs(tmp_path):
    """Two photographs, 64 × 48, in other formats, beside what Macs and Windows leave."""
    images, masks = tmp_path / "set/JPEGImages", tmp_path / "set/Annotations"
    for folder in (images, masks):
        folder.mkdir(parents=True)
        (folder / "Thumbs.db").write_bytes(b"Windows was here")
    (images / "._one.jpg").write_bytes(b"a Mac was here")
    Image.new("RGB", (64, 48), "red").save(images / "one.JPEG")
    Image.new("L", (64, 48), 90).save(images / "two.png")
    for name in ("one.png", "two.PNG"):
        Image.fromarray(squares(0, 1)).save(masks / name, format="PNG")
    return tmp_path


def test_photographs_of_any_suffix(photographs):
    found = stills.sequences(photographs)
    assert [sequence.name for sequence in found] == ["set/one", "set/two"]
    assert all(
        (sequence.labels(0) == squares(0, 1)).all() and sequence.image(0).shape == (48, 64, 3) for sequence in found
    )
    require_sound(found)


def test_masks_of_another_picture_are_never_trained_on(photographs):
    found = stills.sequences(photographs)
    Image.fromarray(np.ones((48, 48), np.uint8)).save(photographs / "set/Annotations/one.png")
    (photographs / "set/Annotations/two.PNG").write_bytes(b"?")
    with pytest.raises(InputError) as caught:
        require_sound(found)
    for words in ("one.png: is 48×48, but its frame 64×48", "two.PNG: cannot be read"):
        assert words in str(caught.value)
    with pytest.raises(InputError, match="is 48×48, but its frame 64×48"):
        found[0].labels(0)


def test_youtube_vos_with_a_byte_order_mark_and_other_suffixes(tmp_path):
    lay_out(tmp_path, "train", {"v": [squares(t, 1) for t in range(3)]}, {"v": {1: "dog"}})
    meta = tmp_path / "train/meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text())), encoding="utf-8-sig")
    for path in (tmp_path / "train/JPEGImages/v").iterdir():
        path.rename(path.with_suffix(".JPEG"))
    [sequence] = youtube_vos.sequences(tmp_path, "train")
    assert [path.name for path in sequence.frames] == ["00000.JPEG", "00005.JPEG", "00010.JPEG"]
    assert all(sequence.annotations)


def test_a_frame_in_two_files_is_refused(photographs):
    Image.new("RGB", (64, 48)).save(photographs / "set/JPEGImages/one.webp")
    with pytest.raises(InputError, match="holds two files for frame one; remove one kind"):
        stills.sequences(photographs)


def test_a_list_that_powershell_wrote(tmp_path):
    root = davis_root(tmp_path, 2017, "val", {"ball": [squares(0, 1)], "box": [squares(0, 1)]})
    (root / "ImageSets/2017/val.txt").write_text("ball\r\nbox\r\n", encoding="utf-16")
    assert [sequence.name for sequence in davis.sequences(root, 2017, "val")] == ["ball", "box"]

"""Folders of one's own: clips and stills of any image format, as sources of training."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stesa_cli.data import folder, stills
from stesa_cli.data.sampling import ClipConfig, ClipDataset
from stesa_cli.errors import InputError, StesaError
from stesa_cli.masks import write_mask
from stesa_cli.training.config import RunConfig, TrainConfig
from stesa_cli.training.data import open_data

from ..layouts import squares


def lay(root: Path, name: str, ending: str, labels: np.ndarray | None) -> None:
    """An image, with a mask of its own where there is one."""
    image = root / "JPEGImages" / f"{name}.{ending}"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(image)
    if labels is not None:
        write_mask(root / "Annotations" / f"{name}.png", labels)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Two clips and a still: object 2 of the first clip enters in frame 2, its frame 1 is not annotated."""
    masks = [squares(0, 1), None, squares(2, 1, 2), squares(3, 1, 2)]
    for t, (ending, labels) in enumerate(zip(("png", "webp", "tiff", "JPG"), masks, strict=True)):
        lay(tmp_path / "mine", f"walk/{t}", ending, labels)
    for t in range(4):
        lay(tmp_path / "mine", f"turn/{t}", "bmp", squares(t, 1))
    lay(tmp_path / "mine", "alone", "webp", squares(0, 1))
    lay(tmp_path / "mine", "unmarked", "webp", None)
    (tmp_path / "mine/JPEGImages/walk/notes.txt").touch()
    return tmp_path


def test_clips_and_stills_of_any_format(own):
    turn, walk, still = folder.sequences(own, "mine")
    assert (turn.name, walk.name, still.name) == ("turn", "walk", "mine/alone")
    assert [len(s.frames) for s in (turn, walk, still)] == [4, 4, 1]
    assert [path is not None for path in walk.annotations] == [True, False, True, True]
    assert all(walk.image(t).shape == (48, 64, 3) for t in range(4))
    assert set(np.unique(walk.given(2, known=[1]))) == {0, 2}
    (found,) = stills.sequences(own / "mine")
    assert found.name == still.name


def test_what_is_not_there_is_told(own):
    with pytest.raises(InputError, match=r"davos: no such data; .*JPEGImages/<clip>"):
        folder.sequences(own, "davos")
    lay(own / "bare", "clip/0", "png", None)
    with pytest.raises(InputError, match="clip: has no frame with a mask"):
        folder.sequences(own, "bare")
    (own / "empty/JPEGImages").mkdir(parents=True)
    with pytest.raises(InputError, match="empty: holds no image with a mask"):
        folder.sequences(own, "empty")


def test_any_folder_is_a_source(own):
    config = RunConfig.load("stesa").adapted("mine", held_out="tu*,mine/*")
    data = open_data(config, own)
    assert [s.name for s in data.sources["mine"]] == ["walk"] and [s.name for s in data.held_out] == ["turn"]
    clips = ClipDataset([(1.0, data.sources["mine"])], ClipConfig(length=2, size=(32, 64), objects=2, paste=0), 0, 20)
    assert {len(clips[i].prompted) for i in range(20)} == {1, 2}
    nothing = config.model_copy(update={"train": TrainConfig(held_out=("tu*", "no*"))})
    with pytest.raises(StesaError, match=r"held-out sequences no\* are not there"):
        open_data(nothing, own)

"""Every format holds what it was given, frame by frame; or an error reaches the caller."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stesa_cli import masks
from stesa_cli.errors import InputError, OutputError
from stesa_cli.masks import PALETTE, read_mask
from stesa_cli.video import background
from stesa_cli.video.outputs import FORMATS, FrameOutput, OutputOptions, open_outputs, read_soft

LABELS = np.random.default_rng(0).choice(np.array([0, 1, 7, 254], np.uint8), (30, 47, 63))
LABELS[3][LABELS[3] == 7] = 0
IDS = (1, 7, 254)


def frame(index: int, labels: np.ndarray, ids: Sequence[int] = (), **soft: np.ndarray) -> FrameOutput:
    image = np.zeros((*labels.shape, 3), np.uint8)
    name = f"{index:05d}"
    return FrameOutput(name, index, index / 25, image, labels, tuple(ids), {int(i[1:]): s for i, s in soft.items()})


def save(folder: Path, kinds: Sequence[str], frames: Sequence[FrameOutput], binary: bool = False) -> None:
    with open_outputs(folder, kinds, OutputOptions(binary)) as write:
        for each in frames:
            write(each)


def test_masks_are_written_in_both_forms(tmp_path: Path) -> None:
    save(tmp_path, ["masks", "objects"], [frame(i, labels, IDS) for i, labels in enumerate(LABELS)])
    names = [f"{i:05d}.png" for i in range(30)]
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == names
    assert sorted(p.name for p in (tmp_path / "objects").iterdir()) == ["1", "254", "7"]
    for i, name in enumerate(names):
        assert (read_mask(tmp_path / "masks" / name) == LABELS[i]).all()
        with Image.open(tmp_path / "masks" / name) as image:
            assert image.mode == "P" and image.getpalette() == PALETTE.ravel().tolist()
        for k in IDS:
            with Image.open(tmp_path / "objects" / str(k) / name) as image:
                assert image.mode == "L" and (np.asarray(image) == 255 * (LABELS[i] == k)).all()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_makes_its_own_output_and_nothing_else(tmp_path: Path, kind: str) -> None:
    labels = np.pad(np.array([[0, 1, 7], [7, 0, 0]], np.uint8), 20)
    soft = {f"_{i}": (labels == i) * np.uint8(200) for i in (1, 7)}
    save(tmp_path, [kind], [frame(0, labels, (1, 7), **soft), frame(1, labels, (1, 7), **soft)])
    assert [path.name for path in tmp_path.iterdir()] == [FORMATS[kind].path]
    assert (tmp_path / FORMATS[kind].path).is_file() == FORMATS[kind].whole
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), open_outputs(tmp_path / "failed", [kind], OutputOptions()) as write:
        write(frame(0, labels, (1, 7), **soft))
        raise ZeroDivisionError
    assert threading.active_count() == before and not (tmp_path / "failed" / FORMATS[kind].path).is_file()


def test_binary_masks(tmp_path: Path) -> None:
    save(tmp_path, ["masks"], [frame(0, LABELS[0], (1, 7))], binary=True)
    with Image.open(tmp_path / "masks/00000.png") as image:
        assert image.mode == "L" and (np.asarray(image) == 255 * np.isin(LABELS[0], (1, 7))).all()


def test_soft_masks_read_back(tmp_path: Path) -> None:
    soft = np.random.default_rng(0).integers(0, 256, (20, 2, 47, 63), np.uint8)
    save(tmp_path, ["soft"], [frame(i, LABELS[i], _1=first, _254=second) for i, (first, second) in enumerate(soft)])
    assert len(list(tmp_path.glob("soft/*/*.png"))) == 40
    for i in range(20):
        found = read_soft(tmp_path / "soft", f"{i:05d}", [254, 1])
        assert list(found) == [254, 1] and found[1].dtype == np.uint8
        assert (found[1] == soft[i, 0]).all() and (found[254] == soft[i, 1]).all()


def test_a_soft_mask_that_is_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"00003\.png: cannot be read as a soft mask"):
        read_soft(tmp_path / "soft", "00003", [1])
    save(tmp_path, ["soft"], [frame(3, LABELS[0], _1=np.arange(9801, dtype=np.uint8).reshape(99, 99))])
    whole = (tmp_path / "soft/1/00003.png").read_bytes()
    (tmp_path / "soft/1/00003.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"00003\.png: cannot be read as a soft mask"):
        read_soft(tmp_path / "soft", "00003", [1])


def test_archives_hold_what_was_given(tmp_path: Path) -> None:
    soft = np.random.default_rng(1).integers(0, 256, (2, 47, 63), np.uint8)
    both = {"_7": soft[0], "_254": soft[1]}
    save(tmp_path, ["npz"], [frame(i, labels, **(both if i else {})) for i, labels in enumerate(LABELS)])
    assert len(list(tmp_path.rglob("*.npz"))) == 30
    for i, labels in enumerate(LABELS):
        with np.load(tmp_path / "npz" / f"{i:05d}.npz") as found:
            assert (found["labels"] == labels).all() and {found[key].dtype for key in found} == {np.dtype(np.uint8)}
            assert found["ids"].tolist() == ([7, 254] if i else [])
            assert (found["probabilities"] == (soft if i else soft[:0])).all()


@pytest.mark.parametrize("kind", ["masks", "npz"])
def test_an_error_of_a_file_reaches_the_caller_at_once(tmp_path: Path, kind: str) -> None:
    (tmp_path / kind).write_text("a file where the folder should be")
    written = []
    with pytest.raises(OutputError, match=kind), open_outputs(tmp_path, [kind], OutputOptions()) as write:
        for i in range(1000):
            write(frame(i, np.zeros((4, 4), np.uint8)))
            written.append(i)
    assert len(written) <= background.WAITING, "at once, not at the end"


def test_few_pictures_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, handed, written = threading.Event(), [], []
    monkeypatch.setattr(masks, "write_mask", lambda path, labels: (gate.wait(), written.append(path)))

    def hand_over() -> None:
        with open_outputs(tmp_path, ["masks"], OutputOptions()) as write:
            for i in range(20):
                write(frame(i, np.zeros((4, 4), np.uint8)))
                handed.append(i)

    thread = threading.Thread(target=hand_over)
    thread.start()
    deadline = time.monotonic() + 30
    while len(handed) < background.WAITING and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(handed) == background.WAITING and not written
    gate.set()
    thread.join()
    assert len(handed) == len(written) == 20

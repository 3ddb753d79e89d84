"""The data of a run: what is missing, held out, odd or broken."""

import shutil

import numpy as np
import pytest
from PIL import Image

from stesa_cli.data import davis, folder
from stesa_cli.data.download import ARCHIVES
from stesa_cli.errors import ConfigError, InputError, StesaError
from stesa_cli.masks import write_mask
from stesa_cli.model.network import Network
from stesa_cli.training.data import open_data
from stesa_cli.training.trainer import Trainer
from stesa_cli.training.validation import mean_region_similarity

from .runs import CONFIG, PLAIN, changed, run


def test_all_missing_data_is_named_at_once(tmp_path):
    with pytest.raises(StesaError) as caught:
        open_data(CONFIG, tmp_path)
    assert "DAVIS-2016" in str(caught.value) and "stills" in str(caught.value)


def test_missing_data_names_the_command_that_gets_them(tmp_path):
    with pytest.raises(StesaError, match="stesa data get davis-2016"):
        open_data(CONFIG, tmp_path)
    assert set(davis.DOWNLOADS.values()) == set(ARCHIVES)


def test_held_out_sequences_are_not_trained_on(tiny_data):
    data = open_data(CONFIG, tiny_data)
    assert [s.name for s in data.sources["davis2016"]] == ["a", "b"] and [s.name for s in data.held_out] == ["c"]
    assert data.notes == []


def test_what_is_held_out_can_be_chosen(tiny_data, tmp_path):
    assert [s.name for s in open_data(CONFIG.adapted(held_out="a, b"), tiny_data).held_out] == ["a", "b"]
    shutil.copytree(tiny_data / "stills", tmp_path / "stills")
    alone = CONFIG.adapted(dataset="stills", held_out="none")
    assert open_data(alone, tmp_path).held_out == []
    with pytest.raises(StesaError, match=r"no DAVIS-2016 here.*held-out sequences c are not there,.* --held-out"):
        open_data(CONFIG.adapted(dataset="stills"), tmp_path)


@pytest.fixture
def odd_data(tiny_data, tmp_path):
    """Frames 3 of the sequence a, which is trained on, and of c, which is held out, break off after their headers."""
    shutil.copytree(tiny_data, tmp_path / "data")
    for name in "ac":
        frame = tmp_path / f"data/davis2016/JPEGImages/480p/{name}/00003.jpg"
        frame.write_bytes(frame.read_bytes()[:1500])
    return tmp_path / "data"


def test_a_run_outlives_files_that_cannot_be_read(odd_data, tmp_path):
    """Each is told once, and a run that goes on sees the clips of one that was not interrupted."""
    config = changed({"held_out": ("b", "c")}, steps=12, sources={"davis2016": 1.0})
    whole = run(config, odd_data, tmp_path / "whole")
    told = [line for report in whole for line in report.unreadable]
    assert sorted(told) == [
        f"{odd_data}/davis2016/JPEGImages/480p/{name}/00003.jpg: cannot be decoded as an image; copy the data again"
        for name in "ac"
    ]
    assert [report.step for report in whole if report.validation] == [3, 6, 9, 12]
    assert all(report.validation.J >= 0 for report in whole if report.validation)
    first = run(config, odd_data, tmp_path / "killed", until=7)
    second = run(config, odd_data, tmp_path / "killed")
    assert [r.losses for r in whole] == [r.losses for r in (*first[:6], *second)]


def test_a_worker_tells_of_files_that_cannot_be_read(odd_data, tmp_path):
    config = changed({"held_out": ()}, steps=8, sources={"davis2016": 1.0})
    reports = list(Trainer(config, odd_data, tmp_path / "run", **PLAIN | {"workers": 1}).run())
    assert sum(len(report.unreadable) for report in reports) == 2 and len(reports) == 8


def test_when_no_held_out_sequence_can_be_read_a_run_ends(odd_data, tmp_path):
    config = changed({"held_out": ("c",)}, sources={"davis2016": 1.0})
    with pytest.raises(InputError, match=r"no held-out sequence can be read; .*c/00003\.jpg"):
        run(config, odd_data, tmp_path / "run")


def test_a_sequence_that_cannot_be_validated_on_is_told_before_the_start(tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    for mask in (tmp_path / "data/davis2016/Annotations/480p/c").iterdir():
        write_mask(mask, np.zeros((64, 96), np.uint8))
    with pytest.raises(ConfigError, match="held-out sequences c are not there, or cannot be validated on"):
        Trainer(CONFIG, tmp_path / "data", tmp_path / "run", **PLAIN)


def test_one_photograph_is_enough(tiny_data, tmp_path):
    reports = run(changed({"held_out": ()}, sources={"stills": 1.0}), tiny_data, tmp_path)
    assert [r.step for r in reports] == [1, 2, 3]


def test_davis_alone_is_no_stills_and_tells_how_to_train_on_it(tiny_data, tmp_path):
    shutil.copytree(tiny_data / "davis2016", tmp_path / "davis")
    for name, root in (("the folder itself", tmp_path / "davis"), ("the one that holds it", tmp_path)):
        with pytest.raises(StesaError) as caught:
            open_data(CONFIG, root)
        assert "no stills here" in str(caught.value) and "holds no frames" not in str(caught.value), name
        assert "the config trains on stills, too: without it, add --dataset davis2016" in str(caught.value), name
    assert open_data(CONFIG.adapted(dataset="davis2016"), tmp_path).sources["davis2016"]


def test_every_data_set_is_one_part_of_the_validation(tiny_data, tmp_path):
    """Each of a data set's sequences counts less, the more there are."""
    for name in ("d", "e"):
        for kind in ("JPEGImages", "Annotations"):
            shutil.copytree(tiny_data / "davis2016" / kind / "480p/c", tmp_path / "own" / kind / name)
    for mask in (tmp_path / "own/Annotations").rglob("*.png"):
        Image.fromarray(np.pad(np.ones((40, 60), np.uint8), 20)[:64, :96]).save(mask)
    c, own = open_data(CONFIG, tiny_data).held_out, folder.sequences(tmp_path, "own")
    network = Network(CONFIG.model).eval()
    one, two, both = (mean_region_similarity(network, sequences)[0] for sequences in (c, own, [*c, *own]))
    assert one != pytest.approx(two) and both == pytest.approx((one + two) / 2)

import resource
from contextlib import contextmanager

import pytest
import torch

from stesa_cli.checkpoint import save
from stesa_cli.errors import OutputError
from stesa_cli.files import atomic, write_text
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.model.network import ModelConfig

from .networks import tiny_network


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "folder" / "report.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_a_disk_that_refuses_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write here"):
        write_text(tmp_path / "file" / "report.json", "text")
    with pytest.raises(OutputError, match="No space left") as caught, atomic(tmp_path / "x"):
        raise OSError(28, "No space left on device")
    assert "free some space" in str(caught.value)


@contextmanager
def full_disk():
    """No file can grow beyond 10 kB, not even pytest's own log."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_fills_up_is_one_clear_line_wherever_it_happens(tmp_path):
    segmenter, large = Segmenter(tiny_network(), device="cpu"), torch.zeros(10_000)
    for write in (
        lambda path: save(path, {"a": large}, ModelConfig(), {}),
        lambda path: segmenter.save(path, large),
        lambda path: write_text(path, "a" * 20_000),
    ):
        match = r"x: cannot be written .*; free some space"
        with full_disk(), pytest.raises(OutputError, match=match):
            write(tmp_path / "x")
    assert not list(tmp_path.iterdir())

import pytest

from stesa_cli.errors import OutputError
from stesa_cli.files import atomic, write_text


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

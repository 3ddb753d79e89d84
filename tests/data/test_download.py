"""Downloads against a server on this machine that breaks off, forgets how to resume, or lies."""

import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from stesa_cli.data import davis, download
from stesa_cli.errors import ConfigError, InputError, OutputError

from .. import layouts


def packed(tmp_path) -> bytes:
    """A DAVIS-2016 as its authors pack it."""
    root = layouts.davis(tmp_path / "packed", 2016, "train", {"a": [layouts.squares(t, 1) for t in range(3)]})
    (root / "ImageSets" / "2016").rename(root / "ImageSets" / "480p")
    (root / "JPEGImages" / "1080p").mkdir()
    (root / "JPEGImages" / "1080p" / "large.jpg").write_bytes(b"large")
    noise = np.random.default_rng(0).bytes(300_000)  # so that there is something to break off in
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            archive.write(path, f"DAVIS/{path.relative_to(root)}")
        archive.writestr("DAVIS/README.md", noise)
    return file.getvalue()


class Server:
    """Serves ``content``; ``breaks`` says after how many bytes each answer ends, None for whole ones."""

    def __init__(self, content: bytes) -> None:
        self.content, self.breaks, self.ranges, self.status = content, [], True, 200
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range") if server.ranges else None
                server.asked.append(self.headers.get("Range"))
                begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                size = len(server.content)
                if server.status != 200:
                    self.send_error(server.status)
                    return
                if begin >= size:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{size}")
                    self.end_headers()
                    return
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(size - begin))
                self.end_headers()
                end = begin + server.breaks.pop(0) if server.breaks else size
                self.wfile.write(server.content[begin:end])

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/DAVIS-data.zip"


@pytest.fixture
def server(tmp_path, monkeypatch):
    made = Server(packed(tmp_path))
    threading.Thread(target=made.http.serve_forever, daemon=True).start()
    monkeypatch.setattr(download, "ARCHIVES", {"davis-2016": download.Archive(made.url)})
    monkeypatch.setattr(download, "TRIES", 2)
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def left(root) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_a_data_set_is_downloaded_checked_and_found_by_its_loader(server, root):
    heard = []
    folder = download.get("davis-2016", root, lambda *progress: heard.append(progress))
    assert [s.name for s in davis.sequences(root, 2016, "train")] == ["a"]
    about = json.loads((folder / "source.json").read_text())
    assert about["sha256"] == hashlib.sha256(server.content).hexdigest() and about["bytes"] == len(server.content)
    assert not (folder / "DAVIS/JPEGImages/1080p").exists()
    assert left(root) == ["davis-2016"]
    assert list(dict.fromkeys(what for what, _, _ in heard)) == ["Downloading", "Checking", "Unzipping"]
    assert all(done <= of for _, done, of in heard)


def test_a_broken_connection_is_resumed_at_once(server, root):
    server.breaks = [100_000, 70_000]
    download.get("davis-2016", root)
    assert server.asked == [None, "bytes=100000-", "bytes=170000-"]


def test_a_download_that_was_given_up_goes_on_in_the_next_call(server, root):
    server.breaks = [100_000, 0, 0]
    with pytest.raises(InputError, match="goes on after 100,000 bytes"):
        download.get("davis-2016", root)
    download.get("davis-2016", root)
    assert server.asked[-1] == "bytes=100000-" and left(root) == ["davis-2016"]


def test_a_server_without_ranges_begins_anew(server, root):
    server.breaks, server.ranges = [100_000], False
    folder = download.get("davis-2016", root)
    about = json.loads((folder / "source.json").read_text())
    assert server.asked == [None, "bytes=100000-"] and about["bytes"] == len(server.content)


def test_a_part_that_is_whole_already_is_used(server, root):
    root.mkdir()
    (root / ".davis-2016.zip.part").write_bytes(server.content)
    assert download.get("davis-2016", root).is_dir()


def test_a_part_longer_than_the_file_is_dropped(server, root):
    root.mkdir()
    (root / ".davis-2016.zip.part").write_bytes(server.content + b"more")
    assert download.get("davis-2016", root).is_dir()


def test_a_wrong_checksum_leaves_nothing(server, root, monkeypatch):
    monkeypatch.setattr(download, "ARCHIVES", {"davis-2016": download.Archive(server.url, "0" * 64)})
    with pytest.raises(InputError, match="SHA-256"):
        download.get("davis-2016", root)
    assert left(root) == []
    right = hashlib.sha256(server.content).hexdigest()
    monkeypatch.setattr(download, "ARCHIVES", {"davis-2016": download.Archive(server.url, right)})
    assert "published" in (download.get("davis-2016", root) / "source.json").read_text()


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_zip_leaves_nothing(server, root, damage):
    content = bytearray(server.content)
    content[-200_000] ^= 1
    server.content = bytes(content) if damage == "flipped" else server.content[:200_000]
    with pytest.raises(InputError, match="damaged"):
        download.get("davis-2016", root)
    assert left(root) == []


def test_what_is_missing_on_the_server_is_said(server, root):
    server.status = 404
    with pytest.raises(InputError, match="404"):
        download.get("davis-2016", root)
    assert len(server.asked) == 1


def test_nothing_is_overwritten(server, root):
    (root / "davis-2016").mkdir(parents=True)
    with pytest.raises(OutputError, match="already"):
        download.get("davis-2016", root)
    assert server.asked == []


def test_a_dead_server_is_one_line(root, monkeypatch):
    archive = download.Archive("http://127.0.0.1:9/gone.zip")
    monkeypatch.setattr(download, "ARCHIVES", {"davis-2016": archive})
    with pytest.raises(InputError, match="connection"):
        download.get("davis-2016", root)


def test_an_unknown_name_lists_the_known_ones(root):
    with pytest.raises(ConfigError, match="davis-2017-test-dev"):
        download.get("imagenet", root)
    assert not root.exists()

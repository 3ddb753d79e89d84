"""Data sets from their official addresses: resumed where they broke off, checked, unzipped whole or not at all."""

import hashlib
import http.client
import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from stesa_cli.errors import ConfigError, InputError, OutputError
from stesa_cli.files import write_text

CHUNK = 1 << 20  # bytes
TIMEOUT = 30  # seconds without a byte
TRIES = 5  # in a row that bring nothing new
Progress = Callable[[str, int, int], None]
"""Hears what is done (such as ``Downloading``), how many bytes of it, and of how many, 0 if that is not known."""


@dataclass(frozen=True)
class Archive:
    """A zip on a server; ``sha256`` where one is published, else its CRCs alone are checked."""

    url: str
    sha256: str | None = None


ARCHIVES = {
    # the SHA-256 is the one that TensorFlow Datasets publishes
    "davis-2017": Archive(
        "https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-trainval-480p.zip",
        "e3d0b5b77c3d031b000a19e0e25e3e2cac65d183755601bc2cf066df1a2aa492",
    ),
    "davis-2017-test-dev": Archive("https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-test-dev-480p.zip"),
    "davis-2016": Archive("https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip"),
}


def get(name: str, data_root: Path, progress: Progress = lambda what, done, of: None) -> Path:
    """Download a data set of ``ARCHIVES`` into the folder of its name in ``data_root``, with the note ``source.json``
    on where it came from; returns that folder. Never overwrites; what arrived before a failure is kept and used by the
    next call. Raises ConfigError, InputError (server, network or file), OutputError."""
    if name not in ARCHIVES:
        raise ConfigError("no such data set", name, f"choose one of: {', '.join(ARCHIVES)}")
    target, archive = data_root / name, ARCHIVES[name]
    if target.exists():
        raise OutputError("is there already", target, "remove it to download it again")
    part = data_root / f".{name}.zip.part"
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        _download(archive.url, part, progress)
        digest = _check(archive, part, progress)
        with tempfile.TemporaryDirectory(dir=data_root, prefix=f".{name}-") as folder:
            unzipped = Path(folder) / name
            _unzip(part, unzipped, progress)
            _name_splits(unzipped)
            checked = "published SHA-256" if archive.sha256 else "CRC-32 of each file"
            about = {"url": archive.url, "bytes": part.stat().st_size, "sha256": digest, "checked": checked}
            write_text(unzipped / "source.json", json.dumps(about, indent=1) + "\n")
            unzipped.rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        part.unlink()
        raise InputError(f"is damaged ({error})", archive.url, "run the command again: it starts afresh") from error
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})", data_root, "free some space") from error
    part.unlink()
    return target


def _download(url: str, part: Path, progress: Progress) -> None:
    tries = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch(url, part, before, progress)
            return
        except HTTPError as error:
            error.close()
            raise InputError(f"the server answers {error.code} {error.reason}", url, "try again later") from error
        except (URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            after = part.stat().st_size if part.exists() else 0
            tries = 0 if after > before else tries + 1
            if tries == TRIES:
                reason = getattr(error, "reason", error)
                fix = f"the same command goes on after {after:,} bytes"
                raise InputError(f"the connection fails ({reason})", url, fix) from error


def _fetch(url: str, part: Path, have: int, progress: Progress) -> None:
    """Append what is missing, or begin anew where the server cannot go on in the middle."""
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        # 416: nothing lies beyond what is here, which is all, or is too much
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        if error.code != 416:
            raise
        error.close()
        if whole != str(have):
            part.unlink()
            raise ConnectionError("the file on the server has changed") from error
        return
    with response, part.open("ab" if response.status == 206 else "wb") as file:
        length = int(response.headers.get("Content-Length", 0))
        total = length and file.tell() + length
        while chunk := response.read(CHUNK):
            file.write(chunk)
            progress("Downloading", file.tell(), total)
        if file.tell() < total:
            raise ConnectionError(f"it broke off after {file.tell():,} of {total:,} bytes")


def _check(archive: Archive, part: Path, progress: Progress) -> str:
    digest, size = hashlib.sha256(), part.stat().st_size
    with part.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            progress("Checking", file.tell(), size)
    if archive.sha256 not in (None, digest.hexdigest()):
        part.unlink()
        what = f"has the SHA-256 {digest.hexdigest()}, not {archive.sha256}"
        raise InputError(what, archive.url, "run the command again: it starts afresh")
    return digest.hexdigest()


def _unzip(path: Path, folder: Path, progress: Progress) -> None:
    """Unzip what is there but for the 1080p copies; the zip's own CRCs are checked in passing."""
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if "/1080p/" not in m.filename and "__MACOSX" not in m.filename]
        total, done = sum(m.file_size for m in members), 0
        if shutil.disk_usage(folder.parent).free < total:
            raise OutputError(f"{total / 1e9:.1f} GB are needed to unzip", folder.parents[1], "free some space")
        for member in members:
            archive.extract(member, folder)
            done += member.file_size
            progress("Unzipping", done, total)


def _name_splits(root: Path) -> None:
    """DAVIS-2016 as its authors pack it has its splits in ``ImageSets/480p``; later packs, and we, in the year's."""
    for old in root.glob("*/ImageSets/480p"):
        if not (old.parent / "2016").exists():
            shutil.copytree(old, old.parent / "2016")

"""Files that travel to a machine which does not see them, and the results that travel back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from stesa_cli.errors import InputError
from stesa_cli.files import PREFIX

LIMIT = 10**9
"""Bytes of the files of a task that travel, and of its results, at most."""
Parcel = Mapping[str, bytes]
"""Files by their path from some folder on."""


def below(root: Path, path: Path) -> Path:
    """Where a path, absolute or not, is in a copy of the file system below ``root``."""
    whole = path.absolute()
    return root / whole.relative_to(whole.anchor)


def pack(paths: Sequence[Path], start: Path) -> Parcel:
    """Files, and those in folders, by their path from ``start`` on. Raises InputError when they are too large."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    if (size := sum(file.stat().st_size for file in files)) > LIMIT:
        what = f"holds {size / 1e9:.1f} GB, of which at most {LIMIT / 1e9:g} travel between machines"
        raise InputError(what, paths[0], "put it where all machines see it under the same path")
    return {file.absolute().relative_to(start).as_posix(): file.read_bytes() for file in files}


def unpack(parcel: Parcel, folder: Path) -> None:
    """Write files into a folder that has none of these names; each file or folder right in it comes whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=PREFIX) as new:
        for name, content in parcel.items():
            path = Path(new, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for entry in Path(new).iterdir():
            entry.replace(folder / entry.name)

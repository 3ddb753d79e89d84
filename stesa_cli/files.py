"""Writing files so that a killed run, or a full disk, never leaves half of one under its final name; and the order of
names."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stesa_cli.errors import OutputError

_MASK = re.compile(r"(?<![a-z])(?:masks?|labels?|seg(?:mentation)?|gt|annot(?:ation)?s?|mattes?|alpha)(?![a-z])")
PREFIX = ".stesa-"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path`` (made if missing) and with its suffix, moved to ``path`` when the
    block ends well and removed when it does not. Raises OutputError when the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=PREFIX, suffix=path.suffix)
    except OSError as error:
        raise OutputError(f"cannot write here ({error.strerror})", path, "choose another output folder") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if error.filename is not None and error.filename != str(temporary):
            raise  # of another file, which the block came to read
        raise OutputError(
            f"cannot be written ({error.strerror or error})", path, "free some space, or choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what runs that were killed left half-written in a folder and those in it."""
    for path in folder.rglob(f"{PREFIX}*"):
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def called_mask(stem: str) -> bool:
    """Whether a name says that it is that of a mask, such as 00000_mask or gt_00000."""
    return bool(_MASK.search(stem.casefold()))


def without_mask(stem: str) -> str:
    """A name without the word for a mask before or behind it: that of its frame."""
    match = re.fullmatch(rf"(?:{_MASK.pattern}[ _.-]+)?(?P<name>.*?)(?:[ _.-]+{_MASK.pattern})?", stem, re.IGNORECASE)
    return match["name"] if match else stem


def natural(name: str) -> list[str | int]:
    """A sort key that puts frame 2 before frame 10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", name))]


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; there is none of a name that is too long."""
    try:
        return path.exists()
    except OSError:
        return False

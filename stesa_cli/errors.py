"""The one family of errors a user can cause or mend. The command line prints such an error as one line and exits 1;
any other exception is a bug and keeps its traceback."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def printable(text: str | Path) -> str:
    """A file name that any terminal and file of UTF-8 takes, in one line: bytes that are not UTF-8 become �, control
    characters what they are written as in code, such as \\n."""
    clean = str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: found[0].encode("unicode_escape").decode(), clean)


def reason(error: Exception) -> str:
    """Why a file could not be used, without its path, which errors of the system and of Pillow repeat."""
    if "cannot identify image file" in str(error):
        return "of no known kind"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


class StesaError(Exception):
    """One clear line: what went wrong, where, and how to fix it."""

    def __init__(self, what: str, where: str | Path = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = printable(" ".join(what.split())), printable(where), printable(fix)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join(f"{line}; {self.fix}".split()) if self.fix else " ".join(line.split())


class InputError(StesaError):
    """A video, mask or data set that cannot be used as it is."""


class OutputError(StesaError):
    """Results that cannot be written, or that would overwrite others."""


class ConfigError(StesaError):
    """A setting, config file or checkpoint that does not fit."""


class Problems:
    """All that is wrong, to be told at once."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._kind: type[StesaError] = ConfigError

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note a StesaError that the block raises, and go on after it."""
        try:
            yield
        except StesaError as error:
            self.found.append(str(error))
            self._kind = type(error)

    def tell(self) -> None:
        """Raise a StesaError, of the kind of the last one noted, when there is any problem."""
        if self.found:
            raise self._kind("; ".join(dict.fromkeys(self.found)))

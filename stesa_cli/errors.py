"""The one family of errors a user can cause or mend. The command line prints such an error as one line and exits 1;
any other exception is a bug and keeps its traceback."""

from pathlib import Path


class StesaError(Exception):
    """One clear line: what went wrong, where, and how to fix it."""

    def __init__(self, what: str, where: str | Path = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, str(where), fix

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join(f"{line}; {self.fix}".split()) if self.fix else " ".join(line.split())


class InputError(StesaError):
    """A video, mask or data set that cannot be used as it is."""


class OutputError(StesaError):
    """Results that cannot be written, or that would overwrite others."""


class ConfigError(StesaError):
    """A setting, config file or checkpoint that does not fit."""

"""Ray's own cluster of two nodes on one machine, and tasks that fail in all the ways there are."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stesa_cli.distribution.parcels import below
from stesa_cli.errors import InputError

STORE = 80 * 2**20  # bytes, the least that Ray takes


@dataclass(frozen=True)
class Held:
    """A model that is of this ``digest`` here, and of the ``other`` in any other process, if given; and needs a
    ``chip``."""

    digest: str = "1"
    other: str = ""
    chip: str = "some"
    process: int = field(default_factory=os.getpid)

    def agreed(self) -> dict[str, Any]:
        return {"weights": self.digest if os.getpid() == self.process else self.other or self.digest}

    def settled(self) -> dict[str, Any]:
        if self.chip == "none":
            raise ValueError("no such chip")
        return {"precision": "fp32"}


@dataclass(frozen=True)
class Toy:
    """Writes what it reads, and who did it, into its output, after it has done its ``deed`` in the first ``times``
    tries."""

    name: str
    folder: Path
    deed: str = ""
    times: int = 1
    size: float = 1
    frames: int = 3
    inputs: tuple[Path, ...] = ()

    @property
    def output(self) -> Path:
        return self.folder / self.name

    def moved(self, root: Path) -> "Toy":
        inputs = tuple(below(root, path) for path in self.inputs)
        return Toy(self.name, below(root, self.folder), self.deed, self.times, self.size, self.frames, inputs)

    def make_room(self) -> None:
        pass

    def run(self, model: Held, again: bool, on_frame: Callable[[int], None], stopped: Callable[[], bool]) -> Any:
        self.output.mkdir(parents=True, exist_ok=True)
        tried = len(list(self.output.glob("try*")))
        (self.output / f"try{tried}").touch()
        on_frame(2)
        if tried < self.times:
            deeds[self.deed](stopped)
        (self.output / "read.txt").write_text(" ".join(path.read_text() for path in self.inputs))
        (self.output / "report.json").write_text(f'"{self.output}"')
        return os.getpid(), again, time.monotonic()


def _complain(stopped: Callable[[], bool]) -> None:
    raise InputError("is broken", "video", "mend it")


def _stumble(stopped: Callable[[], bool]) -> None:
    raise ValueError("of no known kind")


def _wait(stopped: Callable[[], bool]) -> None:
    while not stopped():
        time.sleep(0.05)
    raise InterruptedError


deeds: dict[str, Callable[[Callable[[], bool]], object]] = {
    "": lambda stopped: None,
    "complain": _complain,
    "stumble": _stumble,
    "die": lambda stopped: os.kill(os.getpid(), signal.SIGKILL),
    "linger": lambda stopped: time.sleep(2),
    "wait": _wait,
    "hang": lambda stopped: time.sleep(600),
}

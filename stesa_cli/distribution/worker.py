"""The far side of the work: a worker, which is a process of Ray's, what it holds, and what it does."""

import os
import pickle
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, Protocol, Self

from stesa_cli import __version__
from stesa_cli.distribution.parcels import Parcel, pack, unpack
from stesa_cli.errors import StesaError

VERSION = "version of stesa"


class Model(Protocol):
    """What a worker holds. It is sent there as it is, so what is large is loaded when it is needed."""

    def agreed(self) -> dict[str, Any]:
        """What must be the same on all machines, by name. Raises ConfigError."""

    def settled(self) -> dict[str, Any]:
        """What must be the same, too, but only a worker can tell."""


class Task(Protocol):
    """What a worker does at a time: ``frames`` of a video or sequence, 0 where unknown; of the largest ``size`` first.
    It reads the ``inputs``, files or folders, and writes the folder ``output``."""

    @property
    def name(self) -> str: ...
    @property
    def frames(self) -> int: ...
    @property
    def size(self) -> float: ...
    @property
    def inputs(self) -> Sequence[Path]: ...
    @property
    def output(self) -> Path: ...

    def moved(self, root: Path) -> Self:
        """The same with all files below ``root`` (see ``parcels.below``)."""

    def make_room(self) -> None:
        """Remove from ``output`` what may be replaced. Raises OutputError when that is not allowed."""

    def run(self, model: Any, again: bool, on_frame: Callable[[int], None], stopped: Callable[[], bool]) -> Any:
        """Do it, ``again`` after a worker that was lost, if so. ``on_frame`` hears the frames done. Raises StesaError
        for what does not mend itself, and any exception soon after ``stopped``."""


@dataclass(frozen=True)
class Hello:
    place: str
    agreed: dict[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class Answer:
    result: Any = None
    error: str = ""
    unseen: bool = False  # the files have to travel
    parcel: Parcel | None = None  # the results, where they do


class Worker:
    """The far side: it works in the folder ``home`` if its machine has that, and sees the same files if ``mark`` is
    there."""

    def __init__(self, model: bytes, version: str, home: Path, mark: Path) -> None:
        self._pickled, self._version = model, version
        self._at, self._stop = (0, 0), Event()
        if home.is_dir():
            os.chdir(home)
        self._shares = home.is_dir() and mark.exists()

    def hello(self) -> Hello:
        agreed = {VERSION: __version__}
        try:
            if self._version == __version__:  # another may not know what is sent
                self._model = pickle.loads(self._pickled)
                agreed |= self._model.agreed() | self._model.settled()
        except StesaError as error:
            return Hello(platform.node(), agreed, str(error))
        return Hello(platform.node(), agreed)

    def look(self, after: float) -> tuple[int, int]:
        """The number of the task, and its frames done."""
        time.sleep(after)
        return self._at

    def stop(self) -> None:
        self._stop.set()

    def run(self, number: int, task: Task, again: bool, parcel: Parcel | None) -> Answer:
        self._at = number, 0
        root = ""

        def on_frame(done: int) -> None:
            self._at = number, done

        def do(task: Task) -> Any:
            return task.run(self._model, again, on_frame, self._stop.is_set)

        try:
            if parcel is None:
                sees = self._shares and all(path.exists() for path in task.inputs)
                return Answer(do(task)) if sees else Answer(unseen=True)
            with TemporaryDirectory(prefix="stesa-") as name:
                root = str(Path(name).resolve() / "all")
                unpack(parcel, Path(root))
                task = task.moved(Path(root))
                result = do(task)
                for report in task.output.glob("*.json"):
                    report.write_text(report.read_text(encoding="utf-8").replace(root, ""), encoding="utf-8")
                return Answer(result, parcel=pack([task.output], task.output))
        except StesaError as error:
            return Answer(error=str(error).replace(root, "" if root else root))

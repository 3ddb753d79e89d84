"""What all commands show alike: the console, progress bars, tables."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

console = Console(stderr=True, highlight=False, markup=False)
"""Everything meant for people goes to standard error; standard output stays free for data. Brackets are plain text."""


class _Rate(ProgressColumn):
    """In ``unit`` per second, or in that of the task."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{f'{speed:.1f}' if speed else '–'} {task.fields.get('unit', self.unit)}/s")


def progress(unit: str, transient: bool = False) -> Progress:
    """A bar with count, rate in ``unit`` per second, time taken and time left; an unknown total pulses."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=transient,
    )


def table(title: str, columns: list[str], rows: list[list[str]], total: bool = False) -> Table:
    """A table whose first column is text and whose others are numbers; the last row may hold a ``total``."""
    made = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left")
    for number, row in enumerate(rows, 1):
        made.add_row(*row, style="bold" if total and number == len(rows) else None)
    return made


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C, or the SIGTERM of a scheduler, sets; the second of them interrupts at once."""
    stop = threading.Event()

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def warn(line: str) -> None:
    console.print(Text.assemble(("warning:", "yellow"), f" {line}"), soft_wrap=True)


def complain(error: Exception) -> None:
    console.print(Text.assemble(("error:", "red"), f" {error}"), soft_wrap=True)

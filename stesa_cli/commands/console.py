"""What all commands show alike: the console, progress bars, tables."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

console = Console(stderr=True, highlight=False, markup=False)
"""Everything meant for people goes to standard error; standard output stays free for data. Brackets are plain text."""


TITLE = 26  # characters of a bar's title


class _Bars(Progress):
    """Shows nothing, when it is started, before there is something to show."""

    waits = False

    def start(self) -> None:
        self.waits = not self.tasks
        if self.tasks:
            super().start()

    def stop(self) -> None:
        if self.tasks:
            super().stop()

    def add_task(self, *arguments: Any, **options: Any) -> TaskID:
        task = super().add_task(*arguments, **options)
        if self.waits:
            self.start()
        return task


class _Rate(ProgressColumn):
    """In ``unit`` per second, or in that of the task."""

    def __init__(self, unit: str) -> None:
        super().__init__(Column(no_wrap=True))
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{f'{speed:.1f}' if speed else '–'} {task.fields.get('unit', self.unit)}/s")


def progress(unit: str, transient: bool = False) -> Progress:
    """A bar with count, rate in ``unit`` per second, time taken and time left, in one line, of which the bar and the
    title give way; an unknown total pulses."""
    whole = Column(no_wrap=True)
    return _Bars(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=TITLE)),
        BarColumn(),
        MofNCompleteColumn(table_column=whole),
        _Rate(unit),
        TimeElapsedColumn(table_column=whole),
        TextColumn("·"),
        TimeRemainingColumn(table_column=whole),
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

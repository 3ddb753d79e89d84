"""What ``stesa train`` shows while it runs."""

from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table

from stesa_cli.commands.console import console, progress, warn

if TYPE_CHECKING:
    from stesa_cli.training.run_folder import Report

RECENT = 50  # steps that means are taken over


class TrainingView:
    """A bar with steps, rate and time left; below it the losses, held-out J and images per second. Without a terminal,
    only warnings and a line per validation appear."""

    def __init__(self, title: str, step: int, steps: int, best: float) -> None:
        self.bar = progress("steps")
        self.task = self.bar.add_task(title, total=steps, completed=step)
        self.recent: deque[Report] = deque(maxlen=RECENT)
        self.best = f"{best:.3f}" if best >= 0 else "–"
        self.live = Live(self.bar, console=console, refresh_per_second=2)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.live.stop()

    def show(self, report: "Report") -> None:
        for line in report.unreadable:
            warn(line)
        if report.losses:
            self.recent.append(report)
        self.bar.update(self.task, completed=report.step)
        if found := report.validation:
            self.best = f"{found.J:.3f} at step {report.step}" if found.best else self.best
            now = f"step {report.step}: held-out J {found.J:.3f}, loss {found.loss:.3f}"
            console.print(f"{now}, the best so far" if found.best else now)
        if self.recent:
            self.live.update(Group(self.bar, self._numbers()))

    def _numbers(self) -> Table:
        seconds = sum(report.seconds for report in self.recent)
        grid = Table.grid(padding=(0, 2))
        for name, now in self.recent[-1].losses.items():
            mean = sum(report.losses[name] for report in self.recent) / len(self.recent)
            grid.add_row(f"loss, {name.replace('_', ' ')}", f"{now:.3f}", f"{mean:.3f} over {len(self.recent)} steps")
        images = sum(report.images for report in self.recent)
        waiting = sum(report.waiting for report in self.recent)
        grid.add_row("images/s", f"{images / seconds:.1f}", f"{waiting / seconds:.1%} of the time waiting for data")
        grid.add_row("best held-out J", self.best)
        return grid

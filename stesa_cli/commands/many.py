"""Videos or sequences on several workers, as the user sees them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TaskID
from rich.table import Table

from stesa_cli.commands.console import complain, console, interruptible, progress
from stesa_cli.errors import StesaError, printable

if TYPE_CHECKING:
    from stesa_cli.distribution.crew import Outcome
    from stesa_cli.distribution.worker import Model, Task
    from stesa_cli.evaluation.benchmark import Benchmark
    from stesa_cli.inference.config import InferenceConfig
    from stesa_cli.segmentation.job import SegmentJob

ROWS = 16  # tasks under way that are shown

WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Work with so many processes at once, a GPU or a share of the CPUs each (needs Ray)."),
]
RayOption = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Work on this cluster of Ray's; auto is the one that this machine is in."),
]


def segment_many(
    jobs: "Sequence[SegmentJob]",
    folder: Path,
    workers: int | None,
    ray: str | None,
    overwrite: bool,
    resume: bool,
    allow_truncated: bool,
) -> None:
    """Segment the videos on workers; the summary of all goes to ``folder``. Exits with 1 when any failed."""
    from stesa_cli.segmentation.many import Weights, plan, row, write_summary

    with console.status(f"Looking at {len(jobs)} videos"):
        tasks, rows = plan(jobs, overwrite, resume, allow_truncated)
    if kept := sum(not each["error"] for each in rows.values()):
        console.print(f"{kept} of {len(jobs)} videos are finished already")

    def done(outcome: "Outcome") -> None:
        job = outcome.task.job
        rows[job.output] = told = row(job, outcome.result, outcome.error, allow_truncated)
        if told["error"]:
            complain(StesaError(told["error"]))
        else:
            what = f"{told['frames']} frames, {told['objects']} objects in {told['seconds']:.1f} s"
            line = f"{printable(job.name)}: {what}, written to {printable(job.output)}"
            console.print(line, soft_wrap=True)

    first = jobs[0]
    stopped = run(Weights(first.weights), tasks, folder, workers, ray, first.device, "videos", done)
    write_summary(folder, [rows[job.output] for job in jobs if job.output in rows])
    console.print(f"a row a video is in {printable(folder / 'summary.csv')}", soft_wrap=True)
    if stopped:
        console.print(f"interrupted after {len(rows)} of {len(jobs)} videos: add --resume to go on")
        raise typer.Exit(130)
    _exit_where([(each["video"], each["error"]) for each in rows.values() if each["error"]], "video")


def predict_many(
    benchmark: "Benchmark",
    folder: Path,
    weights: str,
    options: "InferenceConfig",
    device: str,
    resume: bool,
    workers: int | None,
    ray: str | None,
) -> dict[str, Any]:
    """Write the model's masks of a benchmark's sequences with workers; returns how they were made."""
    from stesa_cli.evaluation.many import Method, SequenceTask
    from stesa_cli.evaluation.predictions import is_complete, made_with, note_made
    from stesa_cli.runtime import find_device, resolved

    left = [each for each in benchmark.sequences if not (resume and is_complete(folder, each))]
    failed: list[tuple[str, str]] = []
    made: dict[str, Any] = {}

    def begin(agreed: dict[str, Any]) -> None:
        made.update(made_with(weights, options, agreed["precision"]))
        note_made(folder, made, resume)

    def done(outcome: "Outcome") -> None:
        if outcome.error:
            failed.append((outcome.task.name, outcome.error))
            complain(StesaError(outcome.error))

    tasks = [SequenceTask(each, folder) for each in left]
    if not left:
        begin({"precision": resolved(find_device(device), options.precision)})
    if run(Method(weights, options, device), tasks, folder, workers, ray, device, "sequences", done, begin):
        console.print("interrupted: add --resume to go on")
        raise typer.Exit(130)
    _exit_where(failed, "sequence")
    console.print(f"masks written to {folder}")
    return made


def run(
    model: "Model",
    tasks: "Sequence[Task]",
    folder: Path,
    workers: int | None,
    ray: str | None,
    device: str,
    unit: str,
    done: "Callable[[Outcome], None]",
    begin: Callable[[dict[str, Any]], None] = lambda agreed: None,
) -> bool:
    """Do the tasks, in view of the user; returns whether that was interrupted."""
    from stesa_cli.distribution.cluster import cluster, nodes, share_out
    from stesa_cli.distribution.crew import Crew

    if not tasks:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    waiting = console.status("Starting the workers")

    def at_work(agreed: dict[str, Any]) -> None:
        waiting.stop()
        begin(agreed)

    with waiting, cluster(ray), interruptible() as stop, progress("frames") as bars:
        share = share_out(nodes(), workers, device)
        view = _View(bars, tasks, unit, at_work)
        for outcome in Crew(model, share, folder, view).run(tasks, stop.is_set):
            done(outcome)
            view.end(outcome)
        return stop.is_set()


class _View:
    """A bar for all tasks, and one for each under way (see ``distribution.crew.Watch``)."""

    def __init__(
        self, bars: Progress, tasks: "Sequence[Task]", unit: str, begin: Callable[[dict[str, Any]], object]
    ) -> None:
        self._bars, self._unit, self._begin = bars, unit, begin
        self._of, self._ended, self._total, self._completed = len(tasks), 0, sum(task.frames for task in tasks), 0
        self._done: dict[Path, int] = {}  # frames of the tasks under way
        self._rows: dict[Path, TaskID] = {}
        self._all: TaskID | None = None

    def begin(self, agreed: dict[str, Any]) -> None:
        self._begin(agreed)
        self._all = self._bars.add_task(self._title, total=self._total)

    def frames(self, task: "Task", place: str, done: int) -> None:
        self._count(task, done)
        if task.output not in self._rows and len(self._rows) < ROWS:
            title = f"{printable(task.name)} ({place})"
            self._rows[task.output] = self._bars.add_task(title, total=task.frames or None)
        if (row := self._rows.get(task.output)) is not None:
            self._bars.update(row, completed=done, total=max(done, task.frames) or None)

    def say(self, line: str) -> None:
        console.print(line, soft_wrap=True)

    def end(self, outcome: "Outcome") -> None:
        task = outcome.task
        self._ended += 1
        if (row := self._rows.pop(task.output, None)) is not None:
            self._bars.remove_task(row)
        self._count(task, max(task.frames, self._done.get(task.output, 0)))

    @property
    def _title(self) -> str:
        return f"{self._ended} of {self._of} {self._unit}"

    def _count(self, task: "Task", done: int) -> None:
        self._completed += done - self._done.get(task.output, 0)
        self._done[task.output] = done
        if self._all is not None:
            total = max(self._total, self._completed)
            self._bars.update(self._all, description=self._title, completed=self._completed, total=total)


def _exit_where(failed: Sequence[tuple[str, str]], kind: str) -> None:
    if failed:
        shown = Table(kind, "why", title=f"{len(failed)} failed", title_justify="left")
        for each in failed:
            shown.add_row(*map(printable, each))
        console.print(shown)
        raise typer.Exit(1)


def summary_folder(output: Path | None, outputs: Sequence[Path]) -> Path:
    """The output folder, or the one that all results lie in."""
    return output or Path(os.path.commonpath([path.parent.absolute() for path in outputs]))

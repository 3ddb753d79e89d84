"""``stesa train``: train or fine-tune a config on the data the user has."""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stesa_cli.commands.console import console, interruptible, table, warn

if TYPE_CHECKING:
    from stesa_cli.training.trainer import Trainer

DataRoot = Annotated[
    Path, typer.Option("--data-root", envvar="STESA_DATA", help="Folder of the data sets, or the one that holds them.")
]


def train(
    dataset: Annotated[
        str | None,
        typer.Option(help="Sources with weights instead of the config's, such as davis or stills,davis=3."),
    ] = None,
    data_root: DataRoot = Path("data"),
    year: Annotated[int, typer.Option(help="Which DAVIS 'davis' means: 2016 or 2017.")] = 2016,
    config: Annotated[
        str, typer.Option(help="A shipped config such as stesa or paper/gru_1gate, or a TOML file.")
    ] = "stesa",
    run: Annotated[
        Path | None,
        # torchrun takes --run for an option of its own
        typer.Option(
            "--run", "--run-folder", help="Run folder; an unfinished one is resumed.", show_default="runs/<config>"
        ),
    ] = None,
    initial: Annotated[
        str | None,
        typer.Option("--from", help="Weights to begin with: fine-tune shipped ones (stesa) or a .safetensors file."),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(help="Train sequences to validate on instead of the config's, such as bear,elephant; or none."),
    ] = None,
    stages: Annotated[str | None, typer.Option(help="Only these stages of the config, such as 3 or 1,2.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Scale all stages to this many steps together.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the config's seed.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    precision: Annotated[Literal["auto", "bf16", "fp32"], typer.Option(help="Arithmetic.")] = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network: slow to start, then faster.")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare clips.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check config, data and memory, and draw a batch of every stage.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Only draw the curves of this run folder again.")] = None,
    weights: Annotated[
        Path | None, typer.Option("--export", help="Write the best weights here at the end, as fp16 .safetensors.")
    ] = None,
) -> None:
    """Train a model; interrupt it with Ctrl-C, and give the same command again to resume.

    Several processes: torchrun --nproc-per-node N -m stesa_cli train … (and --run-folder instead of --run)."""
    if plot:
        _draw(plot)
        return
    console.quiet = os.environ.get("RANK", "0") != "0"  # of several processes, the first one speaks
    with console.status("Loading"):
        from stesa_cli.training.config import RunConfig
        from stesa_cli.training.trainer import Trainer

        settings = RunConfig.load(config).adapted(dataset, year, steps, seed, stages, initial, held_out)
        folder = run or Path("runs") / Path(config).stem
        trainer = Trainer(settings, data_root, folder, device, precision, workers, compiled)
    for note in trainer.data.notes:
        warn(note)
    if dry_run:
        _dry_run(trainer)
        return
    with interruptible() as stop:
        _train(trainer, stop)
    if trainer.step < settings.steps:
        console.print(f"interrupted and saved at step {trainer.step}: the same command goes on from there")
        raise typer.Exit(130)
    best = f"{trainer.best:.3f}" if trainer.data.held_out else "–"
    console.print(table(f"Trained into {folder}", ["", ""], [["steps", str(trainer.step)], ["best held-out J", best]]))
    if trainer.is_main:
        _draw(folder)
        if weights:
            _export(trainer, weights)


def _train(trainer: "Trainer", stop: threading.Event) -> None:
    from stesa_cli.commands.training_view import TrainingView

    title = f"Training {trainer.folder.path.name}"
    with TrainingView(title, trainer.step, trainer.config.steps, trainer.best) as view:
        for report in trainer.run(stop.is_set):
            view.show(report)


def _dry_run(trainer: "Trainer") -> None:
    from stesa_cli.training.dry_run import dry_run

    with console.status("Trying a step of every stage"):
        for number, tried in enumerate(dry_run(trainer), 1):
            for line in tried.unreadable:
                warn(line)
            loss, memory = tried.losses["total"], tried.memory / 1e9
            line = f"stage {number}: loss {loss:.3f}, memory up to {memory:.1f} GB, batch drawn in {tried.picture}"
            console.print(line, soft_wrap=True)
    console.print(f"{trainer.config.steps} steps are ready to be trained into {trainer.folder.path}")


def _draw(folder: Path) -> None:
    from stesa_cli.training.plots import draw_curves

    for path in draw_curves(folder):
        console.print(f"curves drawn in {path}", soft_wrap=True)


def _export(trainer: "Trainer", target: Path) -> None:
    from stesa_cli.checkpoint import export

    export(target, trainer.folder.best if trainer.data.held_out else trainer.folder.last)
    console.print(f"weights written to {target}", soft_wrap=True)

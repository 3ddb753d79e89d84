"""``stesa train``: train or fine-tune a config on the data the user has."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from stesa_cli.commands.console import console, progress, table

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
        Path | None, typer.Option(help="Run folder; an unfinished one is resumed [default: runs/<config>].")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Scale all stages to this many steps together.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the config's seed.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16, fp32.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare clips.")] = 1,
    weights: Annotated[
        Path | None, typer.Option("--export", help="Write the best weights here at the end, as fp16 .safetensors.")
    ] = None,
) -> None:
    """Train a model; interrupt it with Ctrl-C and start it again to go on where it stopped."""
    with console.status("Loading"):
        from stesa_cli.engine.checkpoint import export
        from stesa_cli.engine.recipe import RunConfig
        from stesa_cli.engine.training import Trainer

        settings = RunConfig.load(config).adapted(dataset, year, steps, seed)
        folder = run or Path("runs") / Path(config).stem
        trainer = Trainer(settings, data_root, folder, device, precision, workers)  # type: ignore[arg-type]
    stop = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda *_: stop.set())
    started = trainer.step
    try:
        with progress("steps") as bar:
            task = bar.add_task("Training", total=settings.steps, completed=started)
            for report in trainer.run(stop.is_set):
                shown = "  ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
                bar.update(task, completed=report.step, description=shown)
                if report.validation is not None:
                    bar.console.print(f"step {report.step}: held-out J {report.validation:.3f}")
    finally:
        signal.signal(signal.SIGINT, previous)
    if stop.is_set():
        console.print(f"interrupted at step {trainer.step}: the same command goes on from there")
        raise typer.Exit(130)
    rows = [["steps", str(trainer.step)], ["best held-out J", f"{trainer.best:.3f}" if trainer.held_out else "–"]]
    console.print(table(f"Trained into {folder}", ["", ""], rows))
    if weights:
        export(folder / "best.safetensors", weights)
        console.print(f"weights written to {weights}")

"""``stesa data``: the data sets that can be had from their official addresses."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID

from stesa_cli.commands.console import console, progress
from stesa_cli.commands.train import DataRoot

data = typer.Typer(help="Download data sets for training and evaluation.", no_args_is_help=True)


@data.callback()
def _group() -> None:
    """Makes ``get`` a command of its own."""


@data.command()
def get(
    name: Annotated[str, typer.Argument(help="davis-2017 (train and val), davis-2017-test-dev or davis-2016.")],
    data_root: DataRoot = Path("data"),
) -> None:
    """Download a data set; an interrupted download goes on where it stopped."""
    from stesa_cli.data.download import get as download

    with progress("MB") as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done / 1e6, total=of / 1e6 if of else None)

        folder = download(name, data_root, show)
    console.print(f"{name} is in {folder}; DAVIS is licensed CC BY-NC 4.0")

"""The command line. Torch is imported inside the commands only, so that help is instant."""

import ctypes
import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer

from stesa_cli import __version__
from stesa_cli.commands.data import data
from stesa_cli.commands.evaluate import evaluate
from stesa_cli.commands.export import export
from stesa_cli.commands.segment import segment
from stesa_cli.commands.studio import studio
from stesa_cli.commands.train import train
from stesa_cli.errors import StesaError

app = typer.Typer(
    name="stesa",
    help="Semi-supervised video object segmentation: a video and the mask of its first frame in, every mask out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help takes a third less time
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stesa {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show where in the code an error comes from.")] = False,
) -> None:
    _settings["verbose"] = verbose


_settings = {"verbose": False}
for command in (segment, studio, train, export):
    app.command()(command)
app.add_typer(evaluate, name="evaluate")
app.add_typer(data, name="data")


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory() -> None:
    """Have glibc keep what is freed. Else the maps of every frame, tens of megabytes each, are got from the system
    anew, page by page, which a CPU spends much of its time on. It holds for the whole process, so it is not done for
    those who use this as a library."""
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def main() -> None:
    """Run the command line: an error the user can mend is one line and exit code 1, a bug keeps its traceback."""
    keep_freed_memory()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that whatever is half-written is removed
    try:
        app()
    except StesaError as error:
        if _settings["verbose"]:
            raise
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)

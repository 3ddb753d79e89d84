"""``stesa average``: the mean of several weights."""

from pathlib import Path
from typing import Annotated

import typer

from stesa_cli.commands.console import console
from stesa_cli.errors import OutputError


def average(
    weights: Annotated[list[str], typer.Argument(help="Weights by name or .safetensors file, of one model.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write their mean, as fp16 .safetensors.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
) -> None:
    """Average weights that began alike, such as those of stages that followed one another: often better than each."""
    if output.exists() and not overwrite:
        raise OutputError("is there already", output, "choose another --output, or add --overwrite")
    with console.status("Averaging"):
        from stesa_cli.checkpoint import export

        export(output, *map(Path, weights))
    console.print(f"mean of {len(weights)} weights written to {output}", soft_wrap=True)

"""``stesa export``: a network for programs without PyTorch."""

from pathlib import Path
from typing import Annotated

import typer

from stesa_cli.commands.console import console
from stesa_cli.commands.options import WeightsOption


def export(
    onnx: Annotated[Path | None, typer.Option(metavar="DIR", help="Write ONNX graphs, with an example.")] = None,
    openvino: Annotated[Path | None, typer.Option(metavar="DIR", help="Write OpenVINO graphs.")] = None,
    frame: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="What ONNX graphs see: multiples of 32.")
    ] = "864x480",
    weights: WeightsOption = "stesa",
) -> None:
    """Write a network as graphs, for programs without PyTorch."""
    if not onnx and not openvino:
        raise typer.BadParameter("give --onnx DIR or --openvino DIR", param_hint="--onnx")
    width, height = _size(frame)
    with console.status("Loading") as status:
        from stesa_cli import __version__
        from stesa_cli.checkpoint import load_network
        from stesa_cli.inference.export import export_onnx, export_openvino

        network = load_network(weights)[0]
        if onnx:
            about = {"weights": weights, "version": __version__}
            export_onnx(network, onnx, (height, width), about, lambda name: status.update(f"ONNX: {name}"))
        if openvino:
            export_openvino(network, openvino, lambda name: status.update(f"OpenVINO: {name}"))
    for folder in filter(None, (onnx, openvino)):
        console.print(f"{weights} is in {folder}")


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if (
        not (cross and width.isdigit() and height.isdigit())
        or int(width) % 32
        or int(height) % 32
        or "0" in (width, height)
    ):
        raise typer.BadParameter(
            f"{text}: give width and height, multiples of 32, such as 864x480", param_hint="--frame"
        )
    return int(width), int(height)

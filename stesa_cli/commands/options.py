"""Options that several commands share: the weights, and how a video is segmented with them."""

import os
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stesa_cli.commands.console import warn

if TYPE_CHECKING:
    from stesa_cli.inference.config import InferenceConfig
    from stesa_cli.runtime import Precision

PresetOption = Annotated[
    Literal["fast", "default"], typer.Option(help="fast (small frames, a short memory, no finetuning) or default.")
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        min=32, help="Short side at which the network sees the frames, in pixels.", show_default="480; fast: 256"
    ),
]
FinetuneOption = Annotated[
    bool | None,
    typer.Option(
        "--finetune/--no-finetune",
        help="First fit the decoder to the first mask, in 20 steps.",
        show_default="finetune; fast: no-finetune",
    ),
]
WeightsOption = Annotated[str, typer.Option(help="Weights by name or .safetensors file.", show_default="stesa")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]

MAX_RATE = 1000

# what these were called before 0.2, for one release
QualityOption = Annotated[Literal["fast", "default", "best"] | None, typer.Option(hidden=True)]
AdaptOption = Annotated[float | None, typer.Option(hidden=True, min=0)]


def let_idle_threads_sleep() -> None:
    """Before torch is imported: its OpenMP threads that wait for work spin by default, for 17 ms, on cores that the
    decoder, the encoder or others could use, which makes a busy machine many times slower; to sleep at once costs a
    third on a quiet one (docs/performance.md). So they spin for 0.1 ms. What the user has set in the environment
    stays."""
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def inference_config(
    preset: Literal["fast", "default"],
    size: int | None,
    finetune: bool | None,
    precision: "Precision" = "auto",
    quality: Literal["fast", "default", "best"] | None = None,
    adapt: float | None = None,
) -> "InferenceConfig":
    """A preset with what was asked for otherwise. Of the old options, ``quality`` stands for the preset and ``adapt``
    for finetuning, where that is not said; a line tells of the new ones."""
    from stesa_cli.inference.config import InferenceConfig

    if quality:
        preset = "fast" if quality == "fast" else "default"
        gone = ", as best, no better than it, is gone" if quality == "best" else ""
        warn(f"--quality is now --preset: taken as --preset {preset}{gone}")
    if adapt is not None:
        finetune = adapt > 0 if finetune is None else finetune
        warn(f"--adapt is now --finetune or --no-finetune: taken as --{'' if finetune else 'no-'}finetune")
    return InferenceConfig.preset(preset, size=size, finetune=finetune, precision=precision)


def parse_rate(text: str) -> Fraction:
    """What ``--rate`` says. Raises typer.BadParameter."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 1 <= rate <= MAX_RATE:
        raise typer.BadParameter(f"{text}: give a number from 1 to {MAX_RATE}", param_hint="--rate")
    return rate

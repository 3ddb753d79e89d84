"""The curves of a run, a figure per stage, like figures 4 to 7 of the paper. Needs no torch."""

from __future__ import annotations

import json
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = {"cross_entropy": "#7a9fc9", "soft_iou": "#8bb58b", "auxiliary": "#b79bc8"}
BLUE, ORANGE = "#3b6fb6", "#e08a2e"


def draw_curves(run: Path) -> list[Path]:
    """Write ``curves/stage-<n>.png`` into a run folder for every stage that has begun. Raises StesaError."""
    try:
        config = json.loads((run / "config.json").read_text())
        lines = read_metrics(run / "metrics.jsonl")
    except (OSError, ValueError) as error:
        raise InputError(f"is not the folder of a run ({error})", run, "give one that stesa train wrote") from error
    ends = [0, *accumulate(stage["steps"] for stage in config["stages"])]
    written = []
    for number, (begin, end) in enumerate(pairwise(ends), 1):
        course = [line for line in lines if begin < line["step"] <= end]
        if course:
            data = ", ".join(config["stages"][number - 1]["sources"])
            written.append(run / "curves" / f"stage-{number}.png")
            figure = _figure(f"{run.name}, stage {number} of {len(ends) - 1}: {data}", course)
            with atomic(written[-1]) as temporary:
                figure.savefig(temporary, dpi=150)
    return written


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``, a step each, without a last one that was cut short."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _figure(title: str, course: list[dict[str, Any]]) -> Figure:
    from matplotlib.figure import Figure

    validated = [line for line in course if "validation_J" in line]
    figure = Figure((9 if validated else 5.5, 3.6), layout="constrained")
    losses, *others = figure.subplots(1, 2 if validated else 1, squeeze=False)[0]
    window = np.ones(max(1, len(course) // 50))

    def values(name: str) -> np.ndarray:
        return np.array([line[name] for line in course])

    def smooth(name: str) -> np.ndarray:
        return np.convolve(values(name), window / len(window), mode="valid")

    for part in [part for part in PARTS if part in course[0]]:
        losses.plot(smooth("step"), smooth(part), color=PARTS[part], linewidth=1, label=part.replace("_", " "))
    losses.plot(values("step"), values("total"), color=BLUE, alpha=0.15, linewidth=0.6)
    losses.plot(smooth("step"), smooth("total"), color=BLUE, label=f"train, mean of {len(window)} steps")
    held_out = [(line["step"], line["validation_loss"]) for line in validated if "validation_loss" in line]
    if held_out:
        losses.plot(*zip(*held_out, strict=True), "o-", color=ORANGE, label="held out")
    losses.set(xlabel="step", ylabel="loss", ylim=(0, 1.05 * float(np.quantile(values("total"), 0.99))))
    losses.legend(frameon=False, fontsize=8)
    for axis in others:
        axis.plot([v["step"] for v in validated], [v["validation_J"] for v in validated], "o-", color=ORANGE)
        axis.set(xlabel="step", ylabel="J on held-out sequences", xlim=losses.get_xlim())
    for axis in (losses, *others):
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    return figure

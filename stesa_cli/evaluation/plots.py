"""Scores as figures: bars a sequence, curves over time, and a grid of frames at telling moments (the paper's figure 8).

Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from stesa_cli.data.sequence import VideoSequence
from stesa_cli.evaluation.benchmark import Benchmark, Masks, read_pair
from stesa_cli.files import atomic
from stesa_cli.masks import PALETTE
from stesa_cli.metrics.summary import DatasetScores, ObjectScores, SequenceScores
from stesa_cli.video.overlay import OverlayStyle, overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("sequences.png", "over_time.png", "qualitative.png")
BLUE, ORANGE = "#3b6fb6", "#e08a2e"
ROWS = 6  # sequences in the grid of frames
TILE = 480  # pixels, the width of a frame in it


def draw(folder: Path, scores: DatasetScores, benchmark: Benchmark, masks: Masks) -> None:
    """Write the three figures ``NAMES`` into ``folder``."""
    sequences = {sequence.name: sequence for sequence in benchmark.sequences}
    figures = (bars(scores), curves(scores, sequences), grid(scores, sequences, masks))
    for name, figure in zip(NAMES, figures, strict=True):
        with atomic(folder / name) as temporary:
            figure.savefig(temporary, dpi=150)


def bars(scores: DatasetScores) -> Figure:
    """J and F of each sequence, the best on top, and their means."""
    ranked = _ranked(scores)
    figure, [axis] = _axes(1, 1, 7, 1.2 + 0.32 * len(ranked))
    where = np.arange(len(ranked))
    for offset, letter, colour in ((-0.2, "J", BLUE), (0.2, "F", ORANGE)):
        values = [getattr(scores.sequences[name].measures, f"{letter}_mean") for name in ranked]
        mean = getattr(scores.measures, f"{letter}_mean")
        axis.barh(where + offset, values, 0.4, color=colour, alpha=0.7, label=f"{letter}, mean {mean:.3f}")
        axis.axvline(mean, color=colour, linestyle="--", linewidth=1)
    axis.set(yticks=where, yticklabels=ranked, xlim=(0, 1), ylim=(len(ranked) - 0.4, -0.6))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def curves(scores: DatasetScores, sequences: dict[str, VideoSequence]) -> Figure:
    """J over time, a panel for each sequence with a line for each object in the colour of its masks."""
    columns = min(4, len(scores.sequences))
    rows = -(-len(scores.sequences) // columns)
    figure, axes = _axes(rows, columns, 3 * columns, 0.4 + 1.5 * rows)
    for axis, (name, found) in zip(axes, scores.sequences.items(), strict=False):
        for i, of in found.objects.items():
            colour = PALETTE[i] / 255 if len(found.objects) > 1 else BLUE
            axis.plot(scored_frames(sequences[name], of), of.J, color=colour, linewidth=1.2)
        axis.set_title(f"{name}  {found.measures.J_mean:.3f}", fontsize=9, loc="left", pad=3)
        axis.set(xlim=(0, len(sequences[name].frames) - 1), ylim=(0, 1.02))
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    for axis in axes[len(scores.sequences) :]:
        axis.remove()
    figure.supxlabel("frame", fontsize=9)
    figure.supylabel("J", fontsize=9)
    return figure


def grid(scores: DatasetScores, sequences: dict[str, VideoSequence], masks: Masks) -> Figure:
    """Frames × sequences, from the best sequence to the worst: the prompted frame, the best and the worst moment of
    either half. Predicted masks are tinted, true outlines are white."""
    ranked = _ranked(scores)
    names = [ranked[i] for i in np.unique(np.linspace(0, len(ranked) - 1, ROWS).round().astype(int))]
    rows = [_tiles(sequences[name], scores.sequences[name], masks) for name in names]
    columns = max(map(len, rows))
    height = sum(len(row[0][1]) / TILE for row in rows)
    figure, axes = _axes(len(rows), columns, 2.6 * columns, 2.6 * height + 0.2 * len(rows))
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for r, (name, row) in enumerate(zip(names, rows, strict=True)):
        for axis, (title, image) in zip(axes[r * columns :], row, strict=False):
            axis.imshow(image)
            axis.set_title(title, fontsize=8, loc="left", pad=2)
        axes[r * columns].set_ylabel(f"{name}\nJ&F {scores.sequences[name].measures.JF_mean:.3f}", fontsize=8)
    return figure


def scored_frames(sequence: VideoSequence, scores: ObjectScores) -> list[int]:
    """The indices of the frames whose scores these are: the annotated ones after the object is prompted, to the end."""
    annotated = [index for index, path in enumerate(sequence.annotations) if path]
    return (annotated if sequence.late else annotated[:-1])[-len(scores.J) :]


def moments(sequence: VideoSequence, scores: SequenceScores) -> dict[int, str]:
    """The best and the worst frame, by the mean J of its objects, of either half of a sequence: index -> which."""
    js: dict[int, list[float]] = {}
    for found in scores.objects.values():
        for index, j in zip(scored_frames(sequence, found), found.J, strict=True):
            js.setdefault(index, []).append(j)
    means = {index: float(np.mean(js[index])) for index in sorted(js)}
    chosen: dict[int, str] = {}
    for half in filter(len, np.array_split(list(means), 2)):
        worst, best = min(half, key=means.__getitem__), max(half, key=means.__getitem__)
        chosen |= {worst: f"worst, J {means[worst]:.2f}", best: f"best, J {means[best]:.2f}"}
    return dict(sorted(chosen.items()))


def _tiles(sequence: VideoSequence, scores: SequenceScores, masks: Masks) -> list[tuple[str, np.ndarray]]:
    root, tiles = masks.open(), []
    first = next(index for index, path in enumerate(sequence.annotations) if path)
    for index, what in {first: "prompted", **moments(sequence, scores)}.items():
        image = sequence.image(index)
        truth, predicted = read_pair(root, sequence, index)
        if predicted.shape != image.shape[:2]:
            predicted = cv2.resize(predicted, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        labels = np.minimum(predicted, 1) if sequence.merged else predicted
        shown = overlay(image, labels, OverlayStyle(opacity=0.6, contour=0))
        size = TILE, round(TILE * image.shape[0] / image.shape[1])
        tile = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
        true = cv2.resize((truth > 0).view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        cv2.drawContours(tile, cv2.findContours(true, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0], -1, (255, 255, 255), 1)
        tiles.append((f"frame {index}, {what}", tile))
    return tiles


def _ranked(scores: DatasetScores) -> list[str]:
    return sorted(scores.sequences, key=lambda name: -scores.sequences[name].measures.JF_mean)


def _axes(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)

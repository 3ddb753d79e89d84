"""How each object fared over a video, as a picture: its size, and how sure the network was of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stesa_cli.files import atomic
from stesa_cli.masks import PALETTE

NAMED = 12  # objects in the legend


def draw_timeline(
    path: Path,
    times: Sequence[float],
    areas: Mapping[int, Sequence[float | None]],
    confidence: Mapping[int, Sequence[float | None]],
    pixels: int,
) -> None:
    """Write two panels over ``times`` in seconds as a PNG: each object's area in % of the frame's ``pixels``, and its
    mean probability, 0 to 1. A line breaks off where the object is absent: no area, or None.

    ``areas`` in pixels and ``confidence``, of the same ids, hold a value per time. Raises OutputError when the disk
    refuses."""
    from matplotlib.figure import Figure

    figure = Figure((10, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for i in areas:
        area = np.array(areas[i], float)
        area[area == 0] = np.nan
        surety = np.where(np.isnan(area), np.nan, np.array(confidence[i], float))
        for axis, values in ((upper, 100 * area / pixels), (lower, surety)):
            alone = np.isnan(np.pad(values, 1, constant_values=np.nan))
            dots = (alone[:-2] & alone[2:]).nonzero()[0].tolist()  # of which no line would show
            axis.plot(times, values, color=_readable(i), linewidth=1.3, marker=".", markevery=dots, label=str(i))
    upper.set(ylabel="area (% of the frame)", ylim=(0, None))
    lower.set(ylabel="mean probability", ylim=(0, 1.02), xlabel="time (s)")
    for axis in (upper, lower):
        axis.margins(x=0.01)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    named = upper.get_lines()[:NAMED]
    title = f"object ({NAMED} of {len(areas)})" if len(areas) > NAMED else "object"
    figure.legend(handles=named, title=title, loc="outside right upper", frameon=False, fontsize=9, markerscale=0)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _readable(i: int) -> np.ndarray:
    """An object's palette colour, (3,) from 0 to 1, as bright as white paper bears."""
    colour = np.minimum(PALETTE[i] / 255 * 1.7, 1)
    brightness = colour @ (0.299, 0.587, 0.114)
    return colour * min(1, 0.55 / max(brightness, 0.01))

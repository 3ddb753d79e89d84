"""Synthetic motion for still photographs and pasted objects, with the light and the blur that come with it."""

import cv2
import numpy as np

Layer = list[tuple[np.ndarray, np.ndarray]]
"""Frames (h, w, 3) uint8 RGB with their label maps (h, w) uint8, one a time step."""


def moved(
    layer: Layer,
    random: np.random.Generator,
    elastic: bool,
    size: tuple[int, int] | None = None,
    spread: float = 0.05,
    border: bool = True,
    blur: bool = False,
) -> Layer:
    """Set a layer in motion: a smooth random affine path, with trembling, and a slow elastic warp.

    ``size`` (H, W) of the result, by default the layer's; ``spread`` how far from the centre the path may start, as a
    share of the size; ``border`` whether the picture is mirrored beyond its edge, else there is no object there;
    ``blur`` whether it is smeared along its path, as by a shutter that is open for half of the time."""
    height, width = size or layer[0][0].shape[:2]
    length = len(layer)
    speed = random.uniform(0, 1) ** 2  # most clips move little, as most videos do
    start = random.normal(0, [spread, spread, 0.12, 0.12, 0.1, 0.08])
    step = random.normal(0, speed * np.array([0.08, 0.06, 0.12, 0.05, 0.05, 0.04]))
    path = start + step * np.arange(length)[:, None] + random.normal(0, 0.006, (length, 6))
    bends = random.normal(0, 0.02 if elastic else 0.0, (2, 4, 5, 2))
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height)), -1).astype(np.float32)
    result = []
    for t, (image, labels) in enumerate(layer):
        x, y, angle, scale, shear, stretch = path[t]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        squeeze = np.exp(-scale) * np.array([[np.exp(stretch), shear], [0, np.exp(-stretch)]])
        bend = bends[0] + (bends[1] - bends[0]) * t / length
        where = (grid - np.array([x, y], np.float32)) @ (turn @ squeeze).astype(np.float32)
        where += cv2.resize(bend.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        maps = (where + 0.5) * np.array([image.shape[1] - 1, image.shape[0] - 1], np.float32)
        mode = cv2.BORDER_REFLECT_101 if border else cv2.BORDER_CONSTANT
        shown = cv2.remap(image, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        if blur:
            shown = cv2.filter2D(shown, -1, _streak(0.5 * step[:2] * [width, height]))
        result.append((shown, cv2.remap(labels, maps[..., 0], maps[..., 1], cv2.INTER_NEAREST, borderMode=mode)))
    return result


def relit(layer: Layer, random: np.random.Generator) -> Layer:
    """The light grows or fades over the clip, by a factor of 1.5 or so."""
    gains = np.exp(np.linspace(0, random.normal(0, 0.4), len(layer)))
    return [
        (cv2.convertScaleAbs(image, alpha=gain), labels) for (image, labels), gain in zip(layer, gains, strict=True)
    ]


def _streak(path: np.ndarray) -> np.ndarray:
    """The blur kernel of a straight path (x, y) in pixels."""
    radius = int(np.ceil(np.abs(path).max() / 2))
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    begin, end = np.round(radius + np.stack([-path, path]) / 2).astype(int).tolist()
    cv2.line(kernel, begin, end, 1.0)
    return kernel / kernel.sum()

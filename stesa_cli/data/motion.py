"""Synthetic motion for still photographs and pasted objects, and the light, blur and smoke that come with it."""

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
    """The light becomes brighter or darker over the clip, by a factor of 1.5 or so."""
    gains = np.exp(np.linspace(0, random.normal(0, 0.4), len(layer)))
    return [
        (cv2.convertScaleAbs(image, alpha=gain), labels) for (image, labels), gain in zip(layer, gains, strict=True)
    ]


def over(
    under: tuple[np.ndarray, np.ndarray], image: np.ndarray, mask: np.ndarray, new: int
) -> tuple[np.ndarray, np.ndarray]:
    """A frame and its labels with what ``mask`` (H, W), 0 or 1, has of an ``image`` over it, labelled ``new``."""
    alpha = cv2.GaussianBlur(mask * np.float32(1), (3, 3), 0)[..., None]
    blended = image * alpha + under[0] * (1 - alpha)
    return blended.round().astype(np.uint8), np.where(mask > 0, new, under[1]).astype(np.uint8)


def trail(layer: Layer, chosen: int, random: np.random.Generator) -> None:
    """Draw smoke, dust or a shadow beside the object ``chosen`` of ``layer``, in place, behind it or thinly over it. It
    moves with the object and grows: what moves with an object need not belong to it."""
    areas = [np.argwhere(labels == chosen) for _, labels in layer]
    if not len(areas[0]):
        return
    scale, dark = np.sqrt(len(areas[0])), random.random() < 0.3
    # centre, half axes and growth, in sizes of the object; a shadow is flat
    away = random.normal(0, 0.6, 2) + ([0.4, 0] if dark else [0, 0])
    axes = random.uniform(0.25, 1.2, 2) * ([0.4, 1] if dark else [1, 1])
    grown, drift = random.uniform(0, 0.4), random.normal(0, 0.05, 2)
    colour = random.uniform(0, 60) if dark else random.uniform(90, 255) + random.normal(0, 12, 3)
    dense, soft, over = random.uniform(0.3, 1), random.uniform(0.1, 0.6), 0.4 * (random.random() < 0.3)
    waves = np.zeros((64, 64), np.float32)
    for cells in (4, 8, 16):
        noise = random.normal(0, 1.5 / cells, (cells, cells)).astype(np.float32)
        waves += cv2.resize(noise, (64, 64), interpolation=cv2.INTER_CUBIC)
    centre = areas[0].mean(0)
    for t, ((image, labels), places) in enumerate(zip(layer, areas, strict=True)):
        centre = places.mean(0) if len(places) else centre
        middle = centre + (away + t * drift) * scale
        radii = axes * (1 + t * grown) * scale
        grid = np.indices(labels.shape).transpose(1, 2, 0)
        y, x = cv2.split(((grid - middle) / radii).astype(np.float32))
        wave = cv2.remap(waves, 32 + 20 * x, 32 + 20 * y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        alpha = dense * np.clip((1 + wave - np.hypot(x, y)) / soft, 0, 1)
        alpha = cv2.GaussianBlur(np.where(labels == 0, alpha, over * alpha), (3, 3), 0)[..., None]
        layer[t] = (image * (1 - alpha) + (colour + 30 * wave[..., None]) * alpha).clip(0, 255).astype(np.uint8), labels


def approach(layer: Layer, chosen: int, random: np.random.Generator) -> None:
    """The camera moves steadily towards the object ``chosen`` of ``layer``, in place, by a factor of up to 2.5, or away
    from it: the frames are enlarged about where the object is in the last frame that shows it."""
    shown = [labels for _, labels in layer if (labels == chosen).any()]
    if not shown:
        return
    middle = np.argwhere(shown[-1] == chosen).mean(0)[::-1]
    scales = np.exp(np.linspace(0, random.uniform(0.2, 0.9), len(layer)))
    if random.random() < 0.3:
        scales = scales[::-1]
    for t, ((image, labels), scale) in enumerate(zip(layer, scales, strict=True)):
        zoom, size = np.hstack([scale * np.eye(2), (1 - scale) * middle[:, None]]), labels.shape[::-1]
        layer[t] = cv2.warpAffine(image, zoom, size), cv2.warpAffine(labels, zoom, size, flags=cv2.INTER_NEAREST)


def turn(layer: Layer, chosen: int, side: np.ndarray, random: np.random.Generator) -> None:
    """The object ``chosen`` of ``layer`` turns, in place: from a frame after the first on it shows more and more of
    another ``side`` (h, w, 3) uint8 RGB, which begins somewhere along its outline and moves with it."""
    first, shown = random.integers(1, len(layer)), random.uniform(0.3, 1)
    angle, soft = random.uniform(0, 2 * np.pi), random.uniform(0.02, 0.15)
    bends = cv2.resize(random.normal(0, 0.1, (3, 3)).astype(np.float32), (64, 64), interpolation=cv2.INTER_CUBIC)
    across = np.cos(angle) * np.linspace(-0.5, 0.5, 64) + np.sin(angle) * np.linspace(-0.5, 0.5, 64)[:, None]
    order = (across - across.min()) / np.ptp(across) + bends
    for t in range(first, len(layer)):
        image, labels = layer[t]
        x, y, width, height = cv2.boundingRect((labels == chosen).view(np.uint8))
        if not width:
            continue
        part = slice(y, y + height), slice(x, x + width)
        edge = cv2.resize(order, (width, height)) - shown * (t - first + 1) / (len(layer) - first)
        alpha = (labels[part] == chosen) * np.clip(0.5 - edge / soft, 0, 1).astype(np.float32)
        alpha = cv2.GaussianBlur(alpha, (3, 3), 0)[..., None]
        image = image.copy()
        image[part] = (image[part] * (1 - alpha) + cv2.resize(side, (width, height)) * alpha).round()
        layer[t] = image, labels


def _streak(path: np.ndarray) -> np.ndarray:
    """The blur kernel of a straight path (x, y) in pixels."""
    radius = int(np.ceil(np.abs(path).max() / 2))
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    begin, end = np.round(radius + np.stack([-path, path]) / 2).astype(int).tolist()
    cv2.line(kernel, begin, end, 1.0)
    return kernel / kernel.sum()

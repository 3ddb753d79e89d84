"""Masks drawn over their frame, to be looked at."""

from dataclasses import dataclass

import cv2
import numpy as np

from stesa_cli.masks import PALETTE, object_ids

_BRIGHT = (PALETTE.astype(int) * 2).clip(0, 255).astype(np.uint8)  # twice as bright: stands out from fill and picture


@dataclass(frozen=True)
class OverlayStyle:
    """How masks are drawn."""

    opacity: float = 0.5  # of the tint, 0 to 1
    contour: int | None = None  # pixels of the outline, 0 for none; None: thin, whatever the size of the picture
    ids: bool = False  # whether each object bears its number


DEFAULT_STYLE = OverlayStyle()


def overlay(image: np.ndarray, labels: np.ndarray, style: OverlayStyle = DEFAULT_STYLE) -> np.ndarray:
    """A copy of ``image`` (H, W, 3) uint8 RGB where each object of the label map (H, W) uint8 is tinted in its DAVIS
    colour, outlined inside its edge in a brighter one, and, on demand, numbered at its thickest place."""
    height = len(image)
    line = max(1, round(height / 300)) if style.contour is None else style.contour
    result = image.copy()
    x, y, across, down = cv2.boundingRect(labels)
    if across:  # a margin shows where the background begins
        part = np.s_[max(0, y - line) : y + down + line, max(0, x - line) : x + across + line]
        result[part] = _tinted(image[part], labels[part], style.opacity, line)
    for i in object_ids(labels) if style.ids else []:
        depth = cv2.distanceTransform(cv2.copyMakeBorder((labels == i).view(np.uint8), 1, 1, 1, 1, 0), cv2.DIST_L2, 3)
        _write(result, str(i), np.unravel_index(depth.argmax(), depth.shape)[::-1], height / 600)
    return result


def _tinted(image: np.ndarray, labels: np.ndarray, opacity: float, line: int) -> np.ndarray:
    tint = cv2.addWeighted(image, 1 - opacity, _paint(labels, PALETTE), opacity, 0)
    result = cv2.copyTo(tint, labels, image.copy())
    if line:
        around = np.ones((2 * line + 1, 2 * line + 1), np.uint8)
        edge = cv2.min(cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, around), labels)
        result = cv2.copyTo(_paint(labels, _BRIGHT), edge, result)
    return result


def _paint(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    return cv2.applyColorMap(labels, palette[:, None])  # three times as fast as a LUT


def _write(image: np.ndarray, text: str, centre: tuple[int, int], scale: float) -> None:
    font, pen = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(2 * scale))
    (width, height), _ = cv2.getTextSize(text, font, scale, pen)
    x, y = int(centre[0]) - width // 2, int(centre[1]) + height // 2
    cv2.rectangle(image, (x - 2 * pen, y - height - 2 * pen), (x + width + 2 * pen, y + 2 * pen), (0, 0, 0), cv2.FILLED)
    cv2.putText(image, text, (x, y), font, scale, (255, 255, 255), pen, cv2.LINE_AA)

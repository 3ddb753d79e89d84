"""What a grey image means as a mask: ids, one object with smooth edges, or objects in levels of grey."""

from collections.abc import Sequence

import cv2
import numpy as np

from stesa_cli.errors import InputError

SMALL = 30
"""Beside an id up to here, 255 is void; beside larger ones only, it is an object, too."""
TAIL = 28  # grey levels that a lossy file may be off black or white
SOFT = "a grey image with smooth edges is one object, cut at level 128"
FIX = "save ids as an index PNG, or one object in black and white"


def labels_of_grey(grey: np.ndarray, lossy: bool, series: bool) -> tuple[np.ndarray, list[str]]:
    """Label map (H, W) uint8 of a grey image (H, W) uint8, and notes on what was not said by the file itself. In a
    ``series`` of masks, a level may not mean one thing here and another in the next: what would is refused.
    Raises InputError, without a place, for what is neither ids nor one object."""
    counts = np.bincount(grey.ravel(), minlength=256)
    between = np.flatnonzero(counts[1:255]) + 1
    if not between.size:
        return (grey > 0).astype(np.uint8), []
    object_ = (grey >= 128).astype(np.uint8)
    if lossy:
        if _has_flat_grey(grey) or counts[255 - TAIL :].sum() < 0.4 * counts[128:].sum() or not counts[128:].any():
            raise InputError("a lossy file that holds more than black and white, so ids are lost in its noise", fix=FIX)
        smooth = ((grey > 64) & (grey < 192)).sum() > 0.01 * counts[128:].sum()
        return object_, [SOFT] if smooth else []
    solid = squares(grey, np.ones(grey.shape, bool), 2)
    thin = between[np.bincount(grey[solid], minlength=256)[between] == 0]
    if _is_outlined(grey, counts, between, thin) or _is_soft(grey, counts) or _is_noisy(grey, between, solid):
        return object_, [SOFT]
    if _is_spoilt(grey, between, thin):
        what = f"holds {len(between)} grey levels, {len(thin)} of them only at edges or as noise"
        raise InputError(what, fix=f"{FIX}, resized without smoothing")
    if counts[255] and between[0] > SMALL:
        return labels_of_levels(grey, [*between.tolist(), 255], series)
    return grey.copy(), []


def squares(values: np.ndarray, where: np.ndarray, side: int) -> np.ndarray:
    """(H, W) bool: the pixels that are in a square of so many pixels a side, all of them ``where`` (H, W) bool is true,
    and all of one value (H, W) uint8."""
    square, back = np.ones((side, side), np.uint8), (side - 1) // 2
    values = np.where(where, values.astype(np.int16), -1)
    least = cv2.erode(values, square, borderType=cv2.BORDER_CONSTANT, borderValue=[-1])
    uniform = (least >= 0) & (least == cv2.dilate(values, square))
    return cv2.dilate(uniform.view(np.uint8), square, anchor=(back, back)) > 0


def labels_of_levels(grey: np.ndarray, levels: Sequence[int], series: bool) -> tuple[np.ndarray, list[str]]:
    """Label map (H, W) uint8 of a grey or index image (H, W) uint8 in which each of some levels is an object."""
    names = ", ".join(map(str, levels))
    if series:
        raise InputError(f"holds the grey levels {names}, which are no ids", fix="save ids as an index PNG")
    ids = np.zeros(256, np.uint8)
    ids[levels] = np.arange(1, len(levels) + 1)
    return ids[grey], [f"the grey levels {names} are taken for the objects 1 to {len(levels)}"]


def _is_outlined(grey: np.ndarray, counts: np.ndarray, between: np.ndarray, thin: np.ndarray) -> bool:
    """Whether white lies on black with smooth edges between: levels only there, and nowhere solid."""
    white, edges = counts[255], counts[between].sum()
    if not white or edges > grey.size / 2 or len(thin) < len(between) or between[-1] <= SMALL:
        return False
    return float(_lies_between(grey)[(grey > 0) & (grey < 255)].mean()) > 0.9


def _is_soft(grey: np.ndarray, counts: np.ndarray) -> bool:
    """Whether grey runs on smoothly from dark to bright, through many levels of which none stands out."""
    levels = np.flatnonzero(counts)
    if len(levels) < 32 or levels[0] >= 128 or levels[-1] < 128:
        return False
    around = np.array([np.median(np.delete(counts[i - 5 : i + 6], 5)) for i in range(TAIL, 256 - TAIL)])
    middle = counts[TAIL : 256 - TAIL]
    if ((middle > 0.005 * grey.size) & (middle > 5 * np.maximum(around, 1))).any():
        return False
    steps = np.concatenate([np.abs(np.diff(grey.astype(np.int16), axis=axis)).ravel() for axis in (0, 1)])
    steps = steps[steps > 0]
    return bool((steps <= 32).mean() > 0.5)


def _is_noisy(grey: np.ndarray, between: np.ndarray, solid: np.ndarray) -> bool:
    """Whether this is black and white that has been through a lossy file."""
    near = (between > 255 - TAIL).sum() >= 4
    return bool(near and not (solid & (grey >= TAIL) & (grey <= 255 - TAIL)).any() and not _has_flat_grey(grey))


def _is_spoilt(grey: np.ndarray, between: np.ndarray, thin: np.ndarray) -> bool:
    """Whether levels come from smoothed edges of ids, or from noise, and are none themselves."""
    if len(thin) >= max(8, len(between) / 2):
        return True
    inside = _lies_between(grey)
    return sum(bool(inside[grey == level].all()) for level in thin) >= 3


def _lies_between(grey: np.ndarray) -> np.ndarray:
    """(H, W) bool: the pixels that have a darker and a brighter neighbour."""
    square = np.ones((3, 3), np.uint8)
    return (cv2.erode(grey, square) < grey) & (cv2.dilate(grey, square) > grey)


def _has_flat_grey(grey: np.ndarray) -> bool:
    """Whether something between black and white is, but for noise, of one grey."""
    square = np.ones((4, 4), np.uint8)
    least, most = cv2.erode(grey, square), cv2.dilate(grey, square)
    return bool(((least > TAIL) & (most < 255 - TAIL) & (most - least <= 20)).sum() > 4)

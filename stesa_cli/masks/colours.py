"""What the colours of an image mean as a mask: ids of the DAVIS palette, or flat colours, one an object."""

import cv2
import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.masks.grey import FIX, labels_of_grey, squares
from stesa_cli.masks.labels import PALETTE, object_ids

_LEVELS = np.minimum((np.arange(256)[:, None] + [16, 16, 32]) // [32, 32, 64], [7, 7, 3])
_CODES = (_LEVELS * [32, 4, 1]).astype(np.uint8)
"""(256, 3) uint8: looked up by R, G and B and added, a number for the nearest in the palette, a grid of 8 × 8 × 4."""
_IDS = _CODES[PALETTE, range(3)].sum(1).argsort().astype(np.uint8)  # by that number
NEARLY_GREY = 8  # by which the channels of a grey may differ in a lossy file
_NOISE = 12  # RGB distance by which a plain surface may be off its colour
_FAR = 60  # RGB distance at which a surface is of another colour
_FEW = 32  # flat colours
_PART = 0.001  # share of the image that a flat colour has at least


def labels_of_colours(image: np.ndarray, lossy: bool, series: bool) -> tuple[np.ndarray, list[str]]:
    """Label map (H, W) uint8 of an image (H, W, 3) uint8 RGB, and notes; ``series`` as in ``labels_of_grey``.

    Colours of the DAVIS palette give their ids; smooth edges are undone. Few flat colours of
    another palette are objects, the largest first. Raises InputError, without a place, for anything else."""
    if lossy and np.ptp(image, axis=2).max() <= NEARLY_GREY:
        return labels_of_grey(image[..., 1].copy(), lossy, series)
    nearest = nearest_ids(image)
    exact = (cv2.LUT(cv2.merge([nearest] * 3), PALETTE[None]) == image).all(2)
    if exact.all():
        return nearest, [] if series else swapped_note(object_ids(nearest))
    if not np.ptp(image, axis=2).any():
        return labels_of_grey(image[..., 1].copy(), lossy, series)
    if lossy:
        raise InputError("a lossy file in colours, so ids are lost in its noise", fix=FIX)
    if not series and (flat := _flat(image, nearest)):
        return flat
    labels = _snapped(image, nearest, exact)
    near = sorted(set(object_ids(labels)) - set(object_ids(labels[exact & (nearest == labels)])))
    return labels, [f"its colours are only near those of the ids {', '.join(map(str, near))}"] if near else []


def nearest_ids(image: np.ndarray) -> np.ndarray:
    """(…,) uint8: the id whose colour in the DAVIS palette is nearest to each pixel (…, 3) uint8 RGB."""
    shape = image.shape[:-1]
    red, green, blue = cv2.split(cv2.LUT(image.reshape(1, -1, 3), _CODES[None]))
    return cv2.LUT(red + green + blue, _IDS).reshape(shape)


def swapped_ids(ids: list[int]) -> list[int]:
    """The ids whose colours are those of ``ids`` with red and blue changed for each other."""
    return nearest_ids(np.ascontiguousarray(PALETTE[ids][:, ::-1])).tolist() if ids else []


def swapped_note(ids: list[int]) -> list[str]:
    """A line, where these ids are the first ones when red and blue are changed for each other."""
    first = list(range(1, len(ids) + 1))
    if ids == first or sorted(swapped_ids(ids)) != first:
        return []
    names = [", ".join(map(str, each)) for each in (ids, swapped_ids(ids))]
    return [f"its colours are those of the ids {names[0]}; with red and blue swapped they would be {names[1]}"]


def _flat(image: np.ndarray, nearest: np.ndarray) -> tuple[np.ndarray, list[str]] | None:
    red, green, blue = (channel.astype(np.int32) for channel in cv2.split(image))
    codes = red << 16 | green << 8 | blue
    colours, counts = np.unique(codes, return_counts=True)
    if not 1 < len(colours) <= _FEW or counts.min() < _PART * codes.size:
        return None
    background = next((colour for colour in (0, 0xFFFFFF) if colour in colours), None)
    if background is None or (_distance(image, nearest) <= _NOISE).all():
        return None
    by_area = [int(colour) for colour in colours[np.argsort(-counts, kind="stable")] if colour != background]
    labels = np.zeros(codes.shape, np.uint8)
    for i, colour in enumerate(by_area, 1):
        labels[codes == colour] = i
    solid = squares(labels, np.ones(labels.shape, bool), 2)
    if any(solid[labels == i].mean() < 0.5 for i in range(len(colours))):
        return None
    named = ", ".join(f"{i} is #{colour:06x} ({(labels == i).sum():,} px)" for i, colour in enumerate(by_area, 1))
    ground = "black" if background == 0 else "white"
    return labels, [f"its flat colours are taken for objects, the largest first, on {ground}: {named}"]


def _snapped(image: np.ndarray, nearest: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Label map of an image (H, W, 3) uint8 RGB in colours of the palette with smooth edges or noise, of
    which ``nearest`` (H, W) uint8 is the palette's nearest to each pixel, and ``exact`` (H, W) bool whether it is it.

    An edge passes through colours that may be those of other objects. So a pixel in a square of one colour is taken at
    its word, and black is; every other is given to one of the objects around it, the nearest in colour."""
    plain = exact.copy()
    plain[~exact] = _distance(image[~exact], nearest[~exact]) <= _NOISE
    sure = squares(nearest, exact, 2) | squares(nearest, plain, 3) | (exact & (nearest == 0))
    labels, strange = np.where(sure, nearest, 0), ~sure
    if sure.mean() > 0.5:  # or else it is a photograph
        labels[~sure], least = _nearest_around(image, labels, sure)
        strange[~sure] = least > _FAR
        strange = squares(np.zeros_like(labels), strange, 4)
    if strange.any():
        colours = np.unique(image[strange], axis=0)
        what = f"holds {len(colours)} colours outside the DAVIS palette, such as #{bytes(colours[0]).hex()}"
        raise InputError(what, fix="save it as an index PNG, or in palette colours")
    return labels


def _nearest_around(image: np.ndarray, labels: np.ndarray, sure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of the N pixels that are not ``sure``: the label (N,) uint8 nearest in colour among the sure ones within
    two pixels, or among all of them when there is none; and how far it is (N,)."""
    pixels = image[~sure]
    best, off, least = np.zeros(len(pixels), np.uint8), np.zeros(len(pixels)), np.full(len(pixels), np.inf)
    for i in np.unique(labels[sure]):
        around = cv2.dilate((sure & (labels == i)).view(np.uint8), np.ones((5, 5), np.uint8))[~sure] > 0
        distance = _distance(pixels, i)
        rank = np.where(around, distance, 1000 + distance)
        nearer = rank < least
        best[nearer], off[nearer], least[nearer] = i, distance[nearer], rank[nearer]
    return best, off


def _distance(colours: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.linalg.norm(colours.astype(np.float32) - PALETTE[labels], axis=-1)

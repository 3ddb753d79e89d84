"""Masks as files and as arrays: the DAVIS palette, index PNGs, label maps and one-hot masks, soft aggregation.

A label map is (H, W) uint8: 0 is background, 1…254 are object ids, 255 is void in benchmark truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from stesa_cli.errors import InputError
from stesa_cli.files import atomic

if TYPE_CHECKING:  # evaluation of given masks must not pay for torch
    from torch import Tensor

VOID = 255


def _davis_palette() -> np.ndarray:
    ids = np.arange(256)
    channels = [sum(((ids >> (3 * bit + c)) & 1) << (7 - bit) for bit in range(8)) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


PALETTE = _davis_palette()
"""(256, 3) uint8 RGB: colour of each object id, as in DAVIS and PASCAL VOC."""


_LEVELS = np.minimum((np.arange(256)[:, None] + [16, 16, 32]) // [32, 32, 64], [7, 7, 3])
_CODES = (_LEVELS * [32, 4, 1]).astype(np.uint8)
"""(256, 3) uint8: looked up by R, G and B and added, a number for the nearest in the palette, a grid of 8 × 8 × 4."""
_IDS = _CODES[PALETTE, range(3)].sum(1).argsort().astype(np.uint8)  # by that number
_NOISE = 12  # RGB distance by which JPEG may change a plain surface
_FAR = 60  # RGB distance at which a surface is of another colour


def read_mask(path: Path | str, stream: IO[bytes] | None = None) -> np.ndarray:
    """Read a mask as a label map (H, W) uint8; from an open ``stream`` where given, which ``path`` then only names.

    An index image gives its indices whatever its palette. A grey image gives its values; when these are 0, 255 and at
    most smooth edges between them, it is one object, of id 1, where it is 128 or more. An RGB(A) image must use the
    colours of the DAVIS palette, or black and white; smooth edges and the noise of JPEG are undone.
    Raises InputError when the file is missing, not an image, 16-bit beyond 255, or uses other colours.
    """
    with _opened(path, stream) as image:
        mode, lossy = image.mode, image.format == "JPEG"
        array = np.asarray(image.convert("RGB") if mode in ("RGBA", "CMYK") else image)
    if mode in ("LA", "PA"):
        array = array[..., 0]
    if array.ndim == 3:
        return _labels_of_colours(array, lossy, path)
    if array.size and array.max() > 255:
        raise InputError(f"holds the id {array.max()}", path, "use ids up to 254")
    labels = array.astype(np.uint8)
    indexed = mode in ("P", "PA")
    return labels if indexed or not _is_silhouette(labels, lossy) else (labels >= 128).astype(np.uint8)


def mask_size(path: Path) -> tuple[int, int]:
    """Width and height of a mask in pixels, from the head of its file. Raises InputError as ``read_mask`` does."""
    with _opened(path) as image:
        return image.size


@contextmanager
def _opened(path: Path | str, stream: IO[bytes] | None = None) -> Iterator[Image.Image]:
    try:
        with Image.open(stream or path) as image:
            yield image
    except FileNotFoundError as error:
        raise InputError("no such mask", path, "give the PNG of the frame's mask") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"cannot be read as an image ({error})", path, "give a PNG mask") from error


def _is_silhouette(grey: np.ndarray, lossy: bool) -> bool:
    """Whether a grey image (H, W) uint8 is a white object on black, and not a map of ids: between black and white it
    has edges only, where no square is of one grey."""
    margin = 32 if lossy else 0
    between = (grey > margin) & (grey < 255 - margin)
    if not between.any():
        return True
    white = (grey >= 255 - margin).any()
    return bool(white and between.mean() < 0.5 and (lossy or not _squares(grey, between, 2).any()))


def _labels_of_colours(image: np.ndarray, lossy: bool, path: Path | str) -> np.ndarray:
    red, green, blue = cv2.split(cv2.LUT(image, _CODES[None]))
    nearest = cv2.LUT(red + green + blue, _IDS)
    exact = (cv2.LUT(cv2.merge([nearest] * 3), PALETTE[None]) == image).all(2)
    if exact.all():
        return nearest
    if (image == image[..., :1]).all() and _is_silhouette(image[..., 0], lossy):
        return (image[..., 0] >= 128).astype(np.uint8)
    return _snapped(image, nearest, exact, path)


def _snapped(image: np.ndarray, nearest: np.ndarray, exact: np.ndarray, path: Path | str) -> np.ndarray:
    """Label map of an image (H, W, 3) uint8 RGB in colours of the palette with smooth edges or the noise of JPEG, of
    which ``nearest`` (H, W) uint8 is the palette's nearest to each pixel, and ``exact`` (H, W) bool whether it is it.

    An edge passes through colours that may be those of other objects. So a pixel in a square of one colour is taken at
    its word, and black is; every other is given to one of the objects around it, the nearest in colour."""
    plain = exact.copy()
    plain[~exact] = _distance(image[~exact], nearest[~exact]) <= _NOISE
    sure = _squares(nearest, exact, 2) | _squares(nearest, plain, 3) | (exact & (nearest == 0))
    labels, strange = np.where(sure, nearest, 0), ~sure
    if sure.mean() > 0.5:  # or else it is a photograph
        labels[~sure], least = _nearest_around(image, labels, sure)
        strange[~sure] = least > _FAR
        strange = _squares(np.zeros_like(labels), strange, 4)
    if strange.any():
        colours = np.unique(image[strange], axis=0)
        raise InputError(
            f"holds {len(colours)} colours outside the DAVIS palette, such as #{bytes(colours[0]).hex()}",
            path,
            "save it as an index PNG, or in palette colours",
        )
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


def _squares(values: np.ndarray, where: np.ndarray, side: int) -> np.ndarray:
    """(H, W) bool: the pixels that are in a square of so many pixels a side, all of them ``where`` (H, W) bool is true,
    and all of one value (H, W) uint8."""
    square, back = np.ones((side, side), np.uint8), (side - 1) // 2
    values = np.where(where, values.astype(np.int16), -1)
    least = cv2.erode(values, square, borderType=cv2.BORDER_CONSTANT, borderValue=[-1])
    uniform = (least >= 0) & (least == cv2.dilate(values, square))
    return cv2.dilate(uniform.view(np.uint8), square, anchor=(back, back)) > 0


def write_mask(path: Path, labels: np.ndarray) -> None:
    """Write a label map (H, W) uint8 as an index PNG with the DAVIS palette, atomically."""
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())
    with atomic(path) as temporary:
        image.save(temporary, format="PNG")


def object_ids(labels: np.ndarray) -> list[int]:
    """The object ids of a label map in rising order, without background and void."""
    return [int(i) for i in np.unique(labels) if i not in (0, VOID)]


def one_hot(labels: Tensor, ids: list[int]) -> Tensor:
    """Label map (…, H, W) -> float32 masks (…, O, H, W) in {0, 1}, one channel per id."""
    return (labels.unsqueeze(-3) == labels.new_tensor(ids).view(-1, 1, 1)).float()


def label_map(probabilities: Tensor, ids: list[int]) -> np.ndarray:
    """Probabilities (O + 1, H, W), background first -> label map (H, W) uint8 of the most probable id."""
    best = probabilities.max(0).indices  # ten times as fast on a CPU as argmax over the first dimension
    return np.array([0, *ids], dtype=np.uint8)[best.cpu().numpy()]


def soft_aggregation(objects: Tensor) -> Tensor:
    """Combine independent object logits (…, O, H, W) into logits (…, O + 1, H, W), background first, whose softmax is
    the probability of each label: the background's probability is the product of the objects' complements, then a
    softmax over log-odds (RGMP, STM)."""
    import torch
    import torch.nn.functional as F

    background = -F.softplus(objects).sum(-3, keepdim=True)  # log of the product of the complements
    odds = background - torch.log(-torch.expm1(background.clamp(max=-1e-6)))
    return torch.cat([odds, objects], -3)

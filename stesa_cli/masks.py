"""Masks as files and as arrays: the DAVIS palette, index PNGs, label maps and one-hot masks, soft aggregation.

A label map is (H, W) uint8: 0 is background, 1…254 are object ids, 255 is void in benchmark truth.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

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


def read_mask(path: Path, stream: IO[bytes] | None = None) -> np.ndarray:
    """Read a mask as a label map (H, W) uint8; from an open ``stream`` where given, which ``path`` then only names.

    An index image gives its indices whatever its palette; a grey image gives its values, or 0/1 when it holds only
    0 and 255; an RGB(A) image must use the colours of the DAVIS palette, or black and white.
    Raises InputError when the file is missing, not an image, 16-bit beyond 255, or uses other colours.
    """
    try:
        with Image.open(stream or path) as image:
            image.load()
            mode, array = image.mode, np.asarray(image.convert("RGB") if image.mode in ("RGBA", "CMYK") else image)
    except FileNotFoundError as error:
        raise InputError("no such mask", path, "give the PNG of the frame's mask") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"cannot be read as an image ({error})", path, "give a PNG mask") from error
    if array.ndim == 3:
        array = array[..., 0] if mode == "LA" else _labels_of_colours(array, path)
    if array.size and array.max() > 255:
        raise InputError(f"holds the id {array.max()}", path, "use ids up to 254")
    labels = array.astype(np.uint8)
    binary = mode != "P" and np.all((labels == 0) | (labels == 255))
    return (labels > 0).astype(np.uint8) if binary else labels


def _labels_of_colours(image: np.ndarray, path: Path) -> np.ndarray:
    codes = image.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    colours = PALETTE.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    found = np.unique(codes)
    if set(found) <= {0, 0xFFFFFF}:
        return (codes > 0).astype(np.uint8)
    unknown = np.setdiff1d(found, colours)
    if unknown.size:
        raise InputError(
            f"holds {unknown.size} colours outside the DAVIS palette, such as #{unknown[0]:06x}",
            path,
            "save it as an index PNG, or in palette colours without smoothed edges",
        )
    order = np.argsort(colours)
    return order[np.searchsorted(colours, codes, sorter=order)].astype(np.uint8)


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
    return np.array([0, *ids], dtype=np.uint8)[probabilities.argmax(0).cpu().numpy()]


def soft_aggregation(objects: Tensor) -> Tensor:
    """Combine independent object logits (…, O, H, W) into logits (…, O + 1, H, W), background first, whose softmax is
    the probability of each label: the background's probability is the product of the objects' complements, then a
    softmax over log-odds (RGMP, STM)."""
    import torch
    import torch.nn.functional as F

    background = -F.softplus(objects).sum(-3, keepdim=True)  # log of the product of the complements
    odds = background - torch.log(-torch.expm1(background.clamp(max=-1e-6)))
    return torch.cat([odds, objects], -3)

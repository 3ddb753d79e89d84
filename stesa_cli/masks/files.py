"""Reading and writing masks: what each kind of image file says, before its greys and colours are looked at."""

import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image, ImageOps

from stesa_cli.errors import InputError, reason
from stesa_cli.files import atomic
from stesa_cli.masks.colours import labels_of_colours
from stesa_cli.masks.grey import FIX, labels_of_grey
from stesa_cli.masks.labels import PALETTE
from stesa_cli.masks.palettes import labels_of_indices

WHITES = (1023, 4095, 16383, 32767, 65280, 65535, 2**31 - 1, 2**32 - 1)
"""What stands for white in images of more than 8 bits."""
_PLAIN = {"La": "LA", "RGBa": "RGBA"}
Understood = tuple[np.ndarray, list[str]]


def read_mask(path: Path | str, stream: IO[bytes] | None = None, series: bool = False) -> np.ndarray:
    """Read a mask as a label map (H, W) uint8; from an open ``stream`` where given, which ``path`` then only names.

    An index image gives its indices, unless its palette holds black and white only, many greys, the DAVIS colours in
    another order, or black elsewhere than first: then it goes by colour. A grey image gives its values; where these run
    smoothly from black to white, it is one object, of id 1, where it is 128 or more; levels such as 128 and 255 are
    objects 1 and 2. More than 8 bits and fractions are understood alike. A colour image uses the DAVIS palette, whose
    smooth edges and noise are undone, or few flat colours, one an object. Where colour says nothing, the alpha channel
    is the mask.
    In a ``series`` of masks of many frames, ids never follow from what else a file shows: such files are refused.
    Raises InputError when the file is missing, not an image, or cannot be understood without loss.
    """
    return read_mask_with_notes(path, stream, series)[0]


def read_mask_with_notes(path: Path | str, stream: IO[bytes] | None = None, series: bool = False) -> Understood:
    """The same, with a line on each thing that the file does not say by itself."""
    with _opened(path, stream) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise InputError("holds several pictures", path, "give the mask of one frame")
        lossy, deep = _is_lossy(image), _deep_colours(image, stream or path)
        image = ImageOps.exif_transpose(image)
        image = image if _is_plain(image.mode) else image.convert(_PLAIN.get(image.mode, "RGB"))
        image.load()
    try:
        if deep is not None and (deep[..., :3] == deep[..., :1]).all():
            values = deep[..., 0] if deep.shape[2] == 3 else deep[..., [0, 3]]
            return _of_channels(values, partial(_of_numbers, lossy=lossy, series=series))
        if deep is not None and deep[..., :3].max() <= 255:
            small = np.dstack([deep[..., :3], deep[..., 3:] >> 8]).astype(np.uint8)
            return _of_channels(small, partial(labels_of_colours, lossy=lossy, series=series))
        return _understood(image, lossy, series)
    except InputError as error:
        raise InputError(error.what, path, error.fix) from error


def mask_size(path: Path) -> tuple[int, int]:
    """Width and height of a mask in pixels, upright, from the head of its file. Raises InputError as ``read_mask``."""
    with _opened(path) as image:
        turned = image.format != "PNG" and image.getexif().get(0x0112, 1) >= 5  # a PNG would be read to its end
        return image.size[::-1] if turned else image.size


def write_mask(path: Path, labels: np.ndarray) -> None:
    """Write a label map (H, W) uint8 as an index PNG with the DAVIS palette, atomically."""
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())
    with atomic(path) as temporary:  # runs of one id: smaller than at the default level, in a third of the time
        image.save(temporary, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)


@contextmanager
def _opened(path: Path | str, stream: IO[bytes] | None = None) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(stream or path) as image:
            yield image
    except FileNotFoundError as error:
        raise InputError("no such mask", path, "give the PNG of the frame's mask") from error
    except InputError:
        raise
    except Exception as error:  # whatever broken files make the many decoders of Pillow raise
        raise InputError(f"cannot be read as an image ({reason(error)})", path, "give a PNG mask") from error


def _is_plain(mode: str) -> bool:
    return mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "F") or mode.startswith("I;")


def _is_lossy(image: Image.Image) -> bool:
    if image.format == "WEBP":
        file: IO[bytes] = image.fp  # type: ignore[attr-defined]
        file.seek(0)
        return b"VP8L" not in file.read(1 << 16)
    return image.format in ("JPEG", "MPO", "JPEG2000", "AVIF") or image.info.get("compression") in ("jpeg", "webp")


def _deep_colours(image: Image.Image, source: IO[bytes] | Path | str) -> np.ndarray | None:
    """An image of 16 bits a channel, of which Pillow would keep the upper 8, as (H, W, 3) or, with alpha, (H, W, 4)
    uint16 RGB; None for any other."""
    if image.mode not in ("RGB", "RGBA", "LA") or not any(";16" in str(tile[3]) for tile in getattr(image, "tile", [])):
        return None
    if isinstance(source, (str, Path)):
        content = Path(source).read_bytes()
    else:
        place = source.tell()
        source.seek(0)
        content = source.read()
        source.seek(place)
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if values is None or values.dtype != np.uint16 else values[..., [2, 1, 0, 3][: values.shape[-1]]]


def _understood(image: Image.Image, lossy: bool, series: bool) -> Understood:
    mode = image.mode
    if mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return _of_channels(np.asarray(image), partial(labels_of_indices, palette=palette, series=series))
    if mode == "1":
        return np.asarray(image).astype(np.uint8), []
    if mode in ("L", "LA", "I", "F") or mode.startswith("I;"):
        return _of_channels(np.asarray(image), partial(_of_numbers, lossy=lossy, series=series))
    return _of_channels(np.asarray(image), partial(labels_of_colours, lossy=lossy, series=series))


def _of_channels(image: np.ndarray, read: Callable[[np.ndarray], Understood]) -> Understood:
    """Of an image (H, W), (H, W, 3), or with alpha (H, W, 2), (H, W, 4): ``read`` understands its values, but where
    these say nothing, the mask is its alpha."""
    if image.ndim == 2 or image.shape[2] == 3:
        return read(image)
    alpha = image[..., -1]
    values = image[..., 0] if image.shape[2] == 2 else image[..., :3]
    clear = alpha < alpha.max() / 2
    if not clear.any():
        return read(np.ascontiguousarray(values))
    note = "the mask is in its alpha channel"
    visible = values[~clear]
    if (visible != visible[0]).any() or _is_id(visible[0]):
        try:
            return read(np.where(clear.reshape(clear.shape + (1,) * (values.ndim - 2)), 0, values))
        except InputError:
            note = f"its colours are no ids: {note}"
    return (~clear).astype(np.uint8), [note]


def _is_id(value: np.ndarray) -> bool:
    """Whether it is a colour of the DAVIS palette, or a number, that is neither black nor white."""
    return bool((PALETTE[1:] == value).all(1).any() if value.ndim else 0 < value < 255)


def _of_numbers(values: np.ndarray, lossy: bool, series: bool) -> Understood:
    """Of one number a pixel, of any type."""
    notes = []
    if values.dtype.kind == "f":
        nothing = np.isnan(values)
        if nothing.any():
            notes.append(f"{nothing.sum():,} px that are no number are background")
        values = np.where(nothing, 0, values).astype(np.float64)
        if np.isinf(values).any():
            raise InputError("holds infinite numbers", fix=FIX)
    if values.size == 0 or values.min() < 0:
        raise InputError(f"holds the negative number {values.min():g}", fix=FIX)
    highest = values.max()
    if (values == np.rint(values)).all() and highest <= 255:
        labels, more = labels_of_grey(values.astype(np.uint8), lossy, series)
        return labels, notes + more
    white = 1 if highest <= 1 else 255 if highest <= 255 else next((w for w in WHITES if w >= highest), None)
    scaled = np.rint(values * (255 / white)).astype(np.uint8) if white else np.zeros(values.shape, np.uint8)
    labels, more = labels_of_grey(scaled, lossy, series)
    if not (more or np.isin(values, (0, white or 0)).all()):  # what it means hangs on the scale
        raise InputError(f"holds the id {highest:g}", fix="use ids up to 254")
    return labels, notes + more

"""Single pictures: what their head says, and their pixels as 8-bit RGB, whatever their depth."""

import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from stesa_cli.errors import InputError, reason

ENDS = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}  # near the end of a whole file
NARROW = 0.25  # share of the scale below which values are stretched


@dataclass(frozen=True)
class Head:
    """A picture as its head describes it; ``size`` is width and height, upright."""

    size: tuple[int, int]
    mode: str  # as Pillow calls it
    pages: int
    is_deep: bool  # more than 8 bits

    @property
    def kind(self) -> str:
        kinds = {"P": "index", "1": "index", "L": "grey", "LA": "grey", "RGBA": "clear"}
        return kinds.get(self.mode, "colour")


@dataclass(frozen=True)
class Scale:
    """How numbers of more than 8 bits become 0 to 255."""

    dark: float
    bright: float

    def apply(self, values: np.ndarray) -> np.ndarray:
        scaled = (np.nan_to_num(values.astype(np.float32)) - self.dark) * (255 / (self.bright - self.dark))
        return np.rint(scaled).clip(0, 255).astype(np.uint8)


@contextmanager
def opened(path: Path) -> Generator[Image.Image]:
    """Raises InputError for what is no picture, or a broken one, and keeps Pillow's warnings to itself."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            yield image
    except InputError:
        raise
    except Exception as error:  # whatever broken files make the many decoders of Pillow raise
        what = "is a folder, not a frame" if path.is_dir() else f"cannot be read as an image ({reason(error)})"
        raise InputError(what, path, "remove or replace this frame") from error


def look_at(path: Path) -> Head:
    """What the head says, and that the file has its end. Raises InputError."""
    with opened(path) as image:
        turned = image.format in ("JPEG", "TIFF", "MPO") and image.getexif().get(0x0112, 1) >= 5
        size = image.size[::-1] if turned else image.size
        head = Head(size, image.mode, getattr(image, "n_frames", 1), _is_deep(image))
        if image.format in ENDS:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 64))
                if ENDS[image.format] not in file.read():
                    image.load()  # broken, or something is behind its end
        return head


def read_picture(path: Path, scale: Scale | None = None) -> np.ndarray:
    """A picture upright, as (H, W, 3) uint8 RGB; numbers of more than 8 bits are brought to them by ``scale``.
    Raises InputError."""
    return in_8_bits(read_values(path), scale)


def in_8_bits(values: np.ndarray, scale: Scale | None) -> np.ndarray:
    """Values of a picture as (H, W, 3) uint8 RGB."""
    if values.dtype != np.uint8:
        values = (scale or scale_of([values])[0]).apply(values)
    return np.ascontiguousarray(values if values.ndim == 3 else np.dstack([values] * 3))


def read_values(path: Path) -> np.ndarray:
    """A picture upright: (H, W, 3) uint8 or uint16 RGB, or (H, W) of a wider type. Raises InputError."""
    with opened(path) as image:
        if _is_deep(image) and image.mode.startswith("RGB"):  # Pillow keeps the upper 8 bits only
            values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
            if values is not None and values.dtype == np.uint16:
                return values[..., 2::-1]
        return _values(image)


def read_pages(path: Path, pages: Iterable[int]) -> Generator[tuple[np.ndarray, float]]:
    """The values of some pages of a file, rising, as ``read_values`` gives them, and how long each is to be shown, in
    seconds, 0 where nothing is said of it. Raises InputError."""
    with opened(path) as image:
        for page in pages:
            image.seek(page)
            if not (_is_deep(image) and image.mode.startswith("RGB")):
                values = _values(image)
                yield values, float(image.info.get("duration", 0)) / 1000
                continue
            read, found = cv2.imreadmulti(str(path), start=page, count=1, flags=cv2.IMREAD_UNCHANGED)  # see read_values
            if not read:
                raise InputError(f"page {page + 1} of more than 8 bits cannot be read", path, "give pages as files")
            yield found[0][..., 2::-1], float(image.info.get("duration", 0)) / 1000


def _values(image: Image.Image) -> np.ndarray:
    upright = ImageOps.exif_transpose(image)
    deep = upright.mode in ("I", "F") or upright.mode.startswith("I;")
    return np.array(upright if deep else upright.convert("RGB"))


def _is_deep(image: Image.Image) -> bool:
    tiles = getattr(image, "tile", [])
    return image.mode[0] in "IF" or any(";16" in str(tile[3]) for tile in tiles)


def scale_of(samples: Iterable[np.ndarray]) -> tuple[Scale, str]:
    """How to bring numbers like these to 8 bits, and a note on it: by their depth (8, 12 or 16 bits, or from 0 to 1),
    or from the darkest to the brightest of them where these fill little of it, or are of no such depth."""
    dark, bright, name = np.inf, -np.inf, np.dtype(np.uint8)
    for sample in samples:
        finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample.ravel()
        if finite.size and sample.dtype != np.uint8:
            dark, bright, name = min(dark, float(finite.min())), max(bright, float(finite.max())), sample.dtype
    tops = [1.0, 255.0] if name.kind == "f" else [255.0, 4095.0, 65535.0]
    top = next((top for top in tops if bright <= top), None)
    if top is None or dark < 0 or 0 < bright - dark < NARROW * top:
        return Scale(dark, bright), f"frames of {name}: {dark:g} to {bright:g} become 0 to 255"
    return Scale(0, top), "" if top == 255 else f"frames of {name}: 0 to {top:g} become 0 to 255"

"""A sequence of a data set on disk: its frames, and the masks of the annotated ones. Needs no torch."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.files import natural
from stesa_cli.masks import VOID, object_ids, read_mask

FRAMES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff"}
ALIKE = 0.02  # by which the ratios of width to height of a mask and its frame may differ


@dataclass(frozen=True)
class VideoSequence:
    """A sequence of a data set: its frames in order and, where a frame is annotated, its mask.

    ``merged``: all object ids of the masks are one foreground, object 1 (DAVIS-2016).
    ``late``: objects may enter after the first frame, and not every frame is annotated (YouTube-VOS)."""

    name: str
    frames: tuple[Path, ...]
    annotations: tuple[Path | None, ...]
    merged: bool = False
    late: bool = False

    def image(self, index: int) -> np.ndarray:
        """Frame as (H, W, 3) uint8 RGB, also of a grey, CMYK or 16-bit image. Raises InputError when the file cannot be
        decoded."""
        try:
            with Image.open(self.frames[index]) as image:
                if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
                    return np.repeat((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)[..., None], 3, 2)
                return np.array(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError("cannot be decoded as an image", self.frames[index], "copy the data again") from error

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of a frame, from the head of its file. Raises InputError."""
        try:
            with Image.open(self.frames[index]) as image:
                return image.size[::-1]
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError("cannot be decoded as an image", self.frames[index], "copy the data again") from error

    def labels(self, index: int) -> np.ndarray:
        """Label map (H, W) uint8 of an annotated frame, brought to the frame's size where it is the same picture at
        another (DAVIS at full resolution). Raises InputError where it is not."""
        truth, size = self.truth(index), self.size(index)
        if truth.shape == size:
            return truth
        if what := misfit(truth.shape[::-1], size[::-1]):
            raise InputError(what, str(self.annotations[index]), "copy the data again")
        return cv2.resize(truth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)

    def truth(self, index: int) -> np.ndarray:
        """Label map (H, W) uint8 of an annotated frame, at its own size. Raises InputError."""
        path = self.annotations[index]
        if path is None:
            raise ValueError(f"{self.name}: frame {index} is not annotated")
        labels = read_mask(path, series=True)
        return np.where((labels > 0) & (labels < VOID), 1, labels).astype(np.uint8) if self.merged else labels

    def given(self, index: int, known: Collection[int] = ()) -> np.ndarray | None:
        """The mask that a method is given with a frame: label map (H, W) uint8 of the objects that enter there, those
        not ``known`` yet; None where none does."""
        if self.annotations[index] is None or (index and not self.late):
            return None
        labels = self.labels(index)
        new = [i for i in object_ids(labels) if i not in known]
        return np.where(np.isin(labels, new), labels, 0).astype(np.uint8) if new else None

    @property
    def has_truth(self) -> bool:
        """Whether more is annotated than what a method is given."""
        known: set[int] = set()
        for index, path in enumerate(self.annotations):
            if path is not None:
                if index and not self.late:
                    return True
                ids = set(object_ids(self.labels(index)))
                if ids & known:
                    return True
                known |= ids
        return False


def frames_in(folder: Path) -> tuple[Path, ...]:
    """The frames of a folder in natural order. Raises InputError when there is none, or one twice."""
    frames = sorted(pictures_in(folder), key=lambda path: natural(path.name.casefold()))
    if not frames:
        raise InputError("holds no frames", folder, "copy the sequence again, or take it out of the split's list")
    [(stem, count)] = Counter(path.stem for path in frames).most_common(1)
    if count > 1:
        raise InputError(f"holds two files for frame {stem}", folder, "remove one kind of them")
    return tuple(frames)


def masks_of(frames: Sequence[Path], folder: Path) -> tuple[Path | None, ...]:
    """The PNG of each frame's name in a folder, None where there is none."""
    found = {path.stem: path for path in pictures_in(folder, {".png"})}
    return tuple(found.get(frame.stem) for frame in frames)


def misfit(mask: tuple[int, int], frame: tuple[int, int]) -> str:
    """What is wrong with the width and height of a mask, or nothing where they are those of its frame, scaled."""
    if abs(mask[0] * frame[1] / (mask[1] * frame[0]) - 1) < ALIKE:
        return ""
    return "is {}×{}, but its frame {}×{}".format(*mask, *frame)


def pictures_in(folder: Path, suffixes: Collection[str] = FRAMES) -> list[Path]:
    """The files of a folder with one of these suffixes, in no order."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return [path for path in paths if path.suffix.lower() in suffixes and path.name[0] != "."]

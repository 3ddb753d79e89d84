"""A sequence of a data set on disk: its frames, and the masks of the annotated ones. Needs no torch."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.masks import VOID, object_ids, read_mask


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

    def labels(self, index: int) -> np.ndarray:
        """Label map (H, W) uint8 of an annotated frame."""
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

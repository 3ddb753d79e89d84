"""The types that travel from data to training: sequences on disk, clips, batches of clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from stesa_cli.errors import InputError
from stesa_cli.masks import VOID, read_mask


@dataclass(frozen=True)
class VideoSequence:
    """A sequence of a data set: its frames in order and, where a frame is annotated, its mask.

    ``merged``: all object ids of the masks are one foreground, object 1 (DAVIS-2016)."""

    name: str
    frames: tuple[Path, ...]
    annotations: tuple[Path | None, ...]
    merged: bool = False

    def image(self, index: int) -> np.ndarray:
        """Frame as (H, W, 3) uint8 RGB. Raises InputError when the file cannot be decoded."""
        try:
            return decode_image(str(self.frames[index]), ImageReadMode.RGB).permute(1, 2, 0).numpy()
        except RuntimeError as error:
            raise InputError("cannot be decoded as an image", self.frames[index], "copy the data again") from error

    def labels(self, index: int) -> np.ndarray:
        """Label map (H, W) uint8 of an annotated frame."""
        path = self.annotations[index]
        if path is None:
            raise ValueError(f"{self.name}: frame {index} is not annotated")
        labels = read_mask(path)
        return np.where((labels > 0) & (labels < VOID), 1, labels).astype(np.uint8) if self.merged else labels


@dataclass(frozen=True)
class Clip:
    """One training sample of T frames and O objects."""

    frames: Tensor  # (T, 3, H, W) uint8 RGB
    labels: Tensor  # (T, H, W) uint8: 0 background, 1…O objects, 255 void
    objects: int
    truth_fed: Tensor  # (T,) bool: after this frame the true mask is handed on, not the prediction


@dataclass(frozen=True)
class ClipBatch:
    """B clips of one size; those with fewer than O objects are padded."""

    frames: Tensor  # (B, T, 3, H, W) uint8 RGB
    labels: Tensor  # (B, T, H, W) uint8
    valid: Tensor  # (B, O) bool
    truth_fed: Tensor  # (B, T) bool

    def to(self, device: torch.device) -> "ClipBatch":
        return ClipBatch(*(t.to(device, non_blocking=True) for t in vars(self).values()))


def collate(clips: Sequence[Clip]) -> ClipBatch:
    objects = torch.tensor([clip.objects for clip in clips])
    return ClipBatch(
        torch.stack([clip.frames for clip in clips]),
        torch.stack([clip.labels for clip in clips]),
        torch.arange(int(objects.max())) < objects[:, None],
        torch.stack([clip.truth_fed for clip in clips]),
    )

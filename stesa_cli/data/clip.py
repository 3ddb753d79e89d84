"""The types that travel from data to training: clips and batches of clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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

"""The types that travel from data to training: clips and batches of clips.

An object is prompted in the frame that shows it first: there its mask is known, as in use, and from the next frame on
it is to be predicted, also where it has left the picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class Clip:
    """One training sample of T frames and O objects."""

    frames: Tensor  # (T, 3, H, W) uint8 RGB
    labels: Tensor  # (T, H, W) uint8: 0 background, 1…O objects, 255 void
    prompted: Tensor  # (O,) int64: the frame in which each object is prompted; 0 for one of them at least
    teacher_forcing: Tensor  # (T,) bool: after this frame the true mask is propagated, not the prediction
    flaws: Tensor  # (T, H/4, W/4) uint8: labels that take the place of what is propagated; 255 where none does
    flow: Tensor  # (T - 1, 3, h, w) float32: of each frame after the first (see data.flow)
    unreadable: tuple[str, ...] = ()
    """An error message for each file that was drawn for this clip and could not be read."""


@dataclass(frozen=True)
class ClipBatch:
    """B clips of one size; those with fewer than O objects are padded."""

    frames: Tensor  # (B, T, 3, H, W) uint8 RGB
    labels: Tensor  # (B, T, H, W) uint8
    prompted: Tensor  # (B, O) int64; T for padding, which is prompted in no frame
    teacher_forcing: Tensor  # (B, T) bool
    flaws: Tensor  # (B, T, H/4, W/4) uint8
    flow: Tensor  # (B, T - 1, 3, h, w) float32
    unreadable: tuple[str, ...] = ()

    def to(self, device: torch.device) -> "ClipBatch":
        there: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **there)


def collate(clips: Sequence[Clip]) -> ClipBatch:
    return ClipBatch(
        torch.stack([clip.frames for clip in clips]),
        torch.stack([clip.labels for clip in clips]),
        pad_sequence([clip.prompted for clip in clips], batch_first=True, padding_value=len(clips[0].frames)),
        torch.stack([clip.teacher_forcing for clip in clips]),
        torch.stack([clip.flaws for clip in clips]),
        torch.stack([clip.flow for clip in clips]),
        tuple(chain.from_iterable(clip.unreadable for clip in clips)),
    )

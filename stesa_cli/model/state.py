"""An encoded frame, and what one frame hands to the next."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stesa_cli.model.attention import Memory

OFF = -30.0
"""The logit of an object that is not there."""
Hidden = list[list[Tensor]]
"""The hidden states of one frame, per level (coarse to fine): of each object, each (B, C, h, w), or of all of them in
one, (B·O, C, h, w)."""


@dataclass(frozen=True)
class Features:
    """An encoded frame: ``skips`` coarse to fine, the stride-16 map, and its memory key (None without a memory)."""

    skips: list[Tensor]
    middle: Tensor
    key: Tensor | None

    def split(self, batch: int) -> list["Features"]:
        """Frames encoded together, time first (T * B, …), as T features of ``batch`` frames each."""
        skips = zip(*(skip.split(batch) for skip in self.skips), strict=True)
        middles = self.middle.split(batch)
        keys = self.key.split(batch) if self.key is not None else [None] * len(middles)
        return [Features(list(s), middle, key) for s, middle, key in zip(skips, middles, keys, strict=True)]


@dataclass(frozen=True)
class Prediction:
    """Of one frame: ``logits`` (B, O + 1, H/2, W/2), background first, whose softmax is the probability of each label;
    ``objects`` (B, O, H/2, W/2) logits of each object alone; ``auxiliary`` logits of coarser levels, (B, O, h, w)."""

    logits: Tensor
    objects: Tensor
    auxiliary: tuple[Tensor, ...]


@dataclass(frozen=True)
class State:
    """What a frame hands to the next: the propagated ``masks`` (B, O, H/2, W/2) in [0, 1], which objects are real,
    ``valid`` (B, O) bool, ``present`` (B, 1, H/2, W/2), the sum of the masks of all objects, those of other states too,
    the hidden states, the memory, and the number of frames seen."""

    masks: Tensor
    valid: Tensor
    present: Tensor
    hidden: Hidden | None = None
    memory: Memory | None = None
    frames: int = 0

    @property
    def others(self) -> Tensor:
        """To each object the masks of all others together, (B, O, H/2, W/2) in [0, 1]."""
        return (self.present - self.masks).clamp(0, 1)

    def recropped(self, scale: tuple[float, float], shift: tuple[float, float]) -> "State":
        """As another part of the frame has it: ``scale`` (y, x) times as large as the part that was seen, its centre
        moved by ``shift`` (y, x), in heights and widths of that. Where that did not reach, there is nothing."""
        (height, width), (y, x) = self.masks.shape[2:], shift
        memory = self.memory and self.memory.recropped(scale, (y, x * width / height))

        def grid(size: torch.Size) -> Tensor:
            columns, rows = _centres(self.masks, size)
            return torch.stack([columns * scale[1] + 2 * x, rows * scale[0] + 2 * y], -1)

        return replace(self._sampled(grid), memory=memory)

    def warped(self, flow: Tensor) -> "State":
        """Masks and hidden states along a flow (B, 2, h, w) that says, in widths and heights, where each pixel was.
        What was beyond the edge of the frame is taken from the edge."""

        def grid(size: torch.Size) -> Tensor:
            shift = F.interpolate(flow, size=size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
            columns, rows = _centres(flow, size)
            # clamped here, as not every device has grid_sample's padding_mode="border"
            x, y = columns + 2 * shift[..., 0], rows + 2 * shift[..., 1]
            edge_x, edge_y = 1 - 1 / size[1], 1 - 1 / size[0]
            return torch.stack([x.clamp(-edge_x, edge_x), y.clamp(-edge_y, edge_y)], -1)

        return self._sampled(grid)

    def faded(self, share: Tensor) -> "State":
        """With hidden states times ``share`` (B, 1, H, W) in [0, 1]."""
        hidden = []
        for level in self.hidden or []:
            of = F.interpolate(share, level[0].shape[2:], mode="bilinear", antialias=True)
            of = of.repeat_interleave(len(level[0]) // len(of), 0)
            hidden.append([maps * of.to(maps.dtype) for maps in level])
        return replace(self, hidden=hidden)

    def _sampled(self, grid: Callable[[torch.Size], Tensor]) -> "State":
        """Masks and hidden states read where ``grid`` (B or 1, h, w, 2), x and y in -1 to 1, says of each size."""

        def read(maps: list[Tensor]) -> list[Tensor]:
            places = grid(maps[0].shape[2:])
            places = places.repeat_interleave(len(maps[0]) // len(places), 0)
            return [F.grid_sample(each.float(), places, align_corners=False).to(each.dtype) for each in maps]

        masks, present = read([self.masks, self.present])
        hidden = self.hidden and [read(level) for level in self.hidden]
        return replace(self, masks=masks, present=present, hidden=hidden)


def _centres(like: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """The centres of the pixels of maps of ``size`` (h, w), from -1 to 1: x and y, each (1, h, w)."""
    height, width = size
    x = (2 * torch.arange(width, device=like.device) + 1) / width - 1
    y = (2 * torch.arange(height, device=like.device) + 1) / height - 1
    return x.expand(1, height, width), y[:, None].expand(1, height, width)

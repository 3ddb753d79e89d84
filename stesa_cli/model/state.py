"""An encoded frame, and what one frame hands to the next."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stesa_cli.model.attention import Memory
from stesa_cli.model.decoder import Hidden


@dataclass(frozen=True)
class Features:
    """An encoded frame: ``skips`` coarse to fine, the stride-16 map, its memory key (None without a memory), and what
    the optical flow compares (None without it)."""

    skips: list[Tensor]
    middle: Tensor
    key: Tensor | None
    grey: Tensor | None

    def split(self, batch: int) -> list["Features"]:
        """Frames encoded together, time first (T * B, …), as T features of ``batch`` frames each."""
        skips = zip(*(skip.split(batch) for skip in self.skips), strict=True)
        middles = self.middle.split(batch)
        others = (t.split(batch) if t is not None else [None] * len(middles) for t in (self.key, self.grey))
        return [Features(list(s), *rest) for s, *rest in zip(skips, middles, *others, strict=True)]


@dataclass(frozen=True)
class State:
    """What a frame hands to the next: ``masks`` (B, O, H/2, W/2) in [0, 1], which objects are real,
    ``valid`` (B, O) bool, the hidden states, the memory, the number of frames seen, and ``grey`` of ``Features``."""

    masks: Tensor
    valid: Tensor
    hidden: Hidden | None = None
    memory: Memory | None = None
    frames: int = 0
    grey: Tensor | None = None

    def seen_from(self, scale: tuple[float, float], shift: tuple[float, float]) -> "State":
        """As another part of the frame has it: ``scale`` (y, x) times as large as the part that was seen, its centre
        moved by ``shift`` (y, x), in heights and widths of that. Where that did not reach, there is nothing."""
        (height, width), (y, x) = self.masks.shape[2:], shift
        theta = torch.tensor([[[scale[1], 0, 2 * x], [0, scale[0], 2 * y]]], dtype=torch.float32)
        memory = self.memory and self.memory.seen_from(scale, (y, x * width / height))
        moved = replace(self._sampled(lambda size: _grid(theta, size), "zeros"), memory=memory)
        if self.grey is None:
            return moved
        last = _sampled(self.grey[:, None], _grid(theta, self.grey.shape[1:]), "border")
        return replace(moved, grey=last[:, 0].contiguous())

    def carried(self, flow: Tensor) -> "State":
        """Masks and hidden states along a flow (B, 2, h, w) that says, in widths and heights, where each pixel was."""

        def grid(size: torch.Size) -> Tensor:
            shift = F.interpolate(flow, size=size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
            return _grid(torch.eye(2, 3)[None], size) + 2 * shift

        return self._sampled(grid, "border")

    def _sampled(self, grid: Callable[[torch.Size], Tensor], padding: str) -> "State":
        """Masks and hidden states read where ``grid`` says of each size (h, w)."""

        def read(maps: list[Tensor]) -> list[Tensor]:
            places = grid(maps[0].shape[2:])
            return [_sampled(each, places, padding) for each in maps]

        hidden = self.hidden and [read(level) for level in self.hidden]
        return replace(self, masks=read([self.masks])[0], hidden=hidden)


def _grid(theta: Tensor, size: torch.Size) -> Tensor:
    """The places (1, h, w, 2) that an affine map (1, 2, 3) reads for pixels of maps of ``size`` (h, w)."""
    return F.affine_grid(theta, [1, 1, *size], align_corners=False)


def _sampled(maps: Tensor, grid: Tensor, padding: str) -> Tensor:
    """Maps (B, C, h, w) read at the places ``grid`` (B or 1, h, w, 2), in -1 to 1."""
    grid = grid.to(maps.device).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps.float(), grid, padding_mode=padding, align_corners=False).to(maps.dtype)

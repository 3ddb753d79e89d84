"""The paper's decoder: a hierarchy of recurrent cells from coarse to fine, run once per object, in their order."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stesa_cli.model.state import Hidden, State

Reduction = Literal["max", "area"]


def reduce(masks: Tensor, factor: int, reduction: Reduction) -> Tensor:
    """Masks (B, O, H, W) -> (B, O, H / factor, W / factor) by max or average pooling."""
    return F.max_pool2d(masks, factor) if reduction == "max" else F.avg_pool2d(masks, factor)


class Decoder(nn.Module):
    """Skips at strides 32, 16, 8, 4 -> one logit per object and pixel at stride 2.

    The input of a cell is [B2(h of the level above) | skip | previous soft mask | what the memory answered (stride 16)]
    (eq 1). ``auxiliary`` names the level (0 = stride 32) whose hidden state also predicts a logit (eq 10), or None.
    ``make_cell(inputs, hidden)`` builds the recurrence."""

    def __init__(
        self,
        skips: tuple[int, ...],
        hidden: tuple[int, ...],
        make_cell: Callable[[int, int], nn.Module],
        reduction: Reduction,
        memory_channels: int = 0,
        auxiliary: int | None = None,
    ) -> None:
        super().__init__()
        self.hidden, self.reduction, self.auxiliary = hidden, reduction, auxiliary
        above = (0, *hidden[:-1])
        extra = (0, memory_channels, 0, 0)
        self.cells = nn.ModuleList(
            make_cell(a + s + 1 + e, h) for a, s, e, h in zip(above, skips, extra, hidden, strict=True)
        )
        self.out = nn.Conv2d(hidden[-1], 1, 3, padding=1)
        self.auxiliary_out = None if auxiliary is None else nn.Conv2d(hidden[auxiliary], 1, 3, padding=1)

    def forward(
        self,
        skips: list[Tensor],
        state: State,
        readout: Tensor | None,
        motion: list[Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...], Hidden]:
        """``skips`` coarse to fine; the ``state`` of the last frame; ``readout`` (B, O, V, h, w) from the memory;
        ``motion`` (B, O, C, h, w) is added to the coarsest skips. Returns the logits (B, O, H/2, W/2), the auxiliary
        logits (B, O, h, w) or none, and the new hidden states."""
        masks, temporal = state.masks, state.hidden
        objects = masks.shape[1]
        pyramid = [reduce(masks, 2 ** (4 - level), self.reduction) for level in range(len(skips))]
        zeros = [s.new_zeros(s.shape[0], c, *s.shape[2:]) for s, c in zip(skips, self.hidden, strict=True)]
        spatial, cell = list(zeros), [None] * len(skips)
        hidden: Hidden = [[] for _ in skips]
        for o in range(objects):
            for k, recurrence in enumerate(self.cells):
                skip = skips[k] if motion is None or k >= len(motion) else skips[k] + motion[k][:, o]
                parts = [skip, pyramid[k][:, o : o + 1].to(skip.dtype)]
                if k > 0:
                    parts.insert(0, upsample(spatial[k - 1], skip.shape[2:]))
                if k == 1 and readout is not None:
                    parts.append(readout[:, o])
                before = zeros[k] if temporal is None else temporal[k][o]
                spatial[k], cell[k] = recurrence(torch.cat(parts, 1), spatial[k], before, cell[k])
                hidden[k].append(spatial[k])
        logits = _predict(self.out, [upsample(h, masks.shape[2:]) for h in hidden[-1]])
        if self.auxiliary is None or self.auxiliary_out is None:
            return logits, (), hidden
        return logits, (_predict(self.auxiliary_out, hidden[self.auxiliary]),), hidden


def _predict(out: nn.Module, objects: list[Tensor]) -> Tensor:
    return torch.cat([out(h) for h in objects], 1)


def upsample(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bilinear, (B, C, h, w) -> (B, C, *size)."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

"""The default's decoder: recurrent cells from coarse to fine, for all objects at once, whatever their order."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stesa_cli.masks import soft_aggregation
from stesa_cli.model.decoder import upsample
from stesa_cli.model.motion import CUES
from stesa_cli.model.state import OFF, Hidden, State

FINE = 8
"""Channels at stride 2."""


class ObjectGRU(nn.Module):
    """ConvGRU over the frames of every object: what all objects see of a frame is convolved once for all of them."""

    def __init__(self, shared: int, own: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.of_frame = nn.Conv2d(shared, 3 * hidden, 3, padding=1)
        self.of_object = nn.Conv2d(own, 3 * hidden, 3, padding=1, bias=False)
        self.of_state = nn.Conv2d(hidden, 2 * hidden, 3, padding=1, bias=False)

    def forward(self, frame: Tensor, own: Tensor, state: Tensor | None) -> Tensor:
        """``frame`` (B, S, h, w), ``own`` (B·O, I, h, w) and the last ``state`` (B·O, C, h, w) -> the new state."""
        gates, current = _added(self.of_object(own), self.of_frame(frame)).tensor_split([2 * self.hidden], 1)
        if state is None:
            return current.tanh() * (1 - gates[:, : self.hidden].sigmoid())
        update, reset = (gates + self.of_state(state)).sigmoid().chunk(2, 1)
        return torch.lerp(torch.addcmul(current, reset, state).tanh(), state, update)


class ObjectDecoder(nn.Module):
    """Skips at strides 32, 16, 8, 4 and 2 -> one logit per object and pixel at stride 2.

    Every level adds to the logits of the level above, enlarged, and there the objects compete (soft aggregation). A
    cell sees the skip and, of its object: the state of the level above, the mask of the last frame and that of all
    others, the masks that the level above predicts, its own and that of all others, how it moves (down to stride 8),
    and what the memory answers (stride 16)."""

    def __init__(self, skips: tuple[int, ...], hidden: tuple[int, ...], memory_channels: int) -> None:
        super().__init__()
        above, extra = (0, *hidden[:-1]), (CUES, CUES + 2 + memory_channels, CUES + 2, 2)
        self.cells = nn.ModuleList(
            ObjectGRU(s, 2 + a + e, h) for s, a, e, h in zip(skips, above, extra, hidden, strict=False)
        )
        self.out = nn.ModuleList(nn.Conv2d(h, 1, 3, padding=1) for h in hidden)
        self.to_fine = nn.Conv2d(hidden[-1], FINE, 3, padding=1)
        self.out_fine = nn.Conv2d(FINE, 1, 3, padding=1)

    def forward(
        self, skips: list[Tensor], state: State, readout: Tensor, motion: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...], Hidden]:
        """``skips`` coarse to fine, the ``state`` of the last frame, ``readout`` (B, O, V, h, w) from the memory,
        ``motion`` (B, O, CUES, h, w) at stride 8, None where nothing moves. Returns the logits (B, O, H/2, W/2), those
        of the levels above, coarse to fine, and the new hidden states."""
        last, cues = _pyramids(state, motion)
        hidden: Hidden = []
        levels: list[Tensor] = []
        for k, cell in enumerate(self.cells):
            size = skips[k].shape[2:]
            parts = [last[k], *cues[k : k + 1]]
            if levels:
                parts += [
                    upsample(hidden[-1][0], size),
                    upsample(_competing(levels[-1], state.valid), size).to(parts[0]),
                ]
            if k == 1:
                parts.append(readout.flatten(0, 1))
            own = torch.cat([part.to(skips[k].dtype) for part in parts], 1).contiguous(
                memory_format=torch.channels_last
            )
            hidden.append([cell(skips[k], own, state.hidden and state.hidden[k][0])])
            levels.append(_logits(self.out[k](hidden[-1][0]), state, levels))
        fine = upsample(self.to_fine(hidden[-1][0]), skips[4].shape[2:])
        return _logits(self.out_fine(_added(fine, skips[4]).relu()), state, levels), tuple(levels), hidden


def _added(own: Tensor, frame: Tensor) -> Tensor:
    """What is an object's own (B·O, C, h, w), and what the frame (B, C, h, w) shows all of them."""
    return (own.unflatten(0, (len(frame), -1)) + frame[:, None]).flatten(0, 1)


def _logits(own: Tensor, state: State, above: list[Tensor]) -> Tensor:
    """(B·O, 1, h, w) -> (B, O, h, w) float32, added to those of the level above."""
    logits = own[:, 0].unflatten(0, state.masks.shape[:2]).float()
    return logits + upsample(above[-1], logits.shape[2:]) if above else logits


def _competing(logits: Tensor, valid: Tensor) -> Tensor:
    """The share of each object and of all others in a level's masks, (B, O, h, w) -> (B·O, 2, h, w)."""
    shares = soft_aggregation(logits.masked_fill(~valid[..., None, None], OFF)).softmax(1)[:, 1:]
    return torch.stack([shares, shares.sum(1, keepdim=True) - shares], 2).flatten(0, 1)


def _pyramids(state: State, motion: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
    """Coarse to fine: the last masks of each object and of all others, (B·O, 2, h, w) at strides 32 to 4, and how each
    object moves, (B·O, CUES, h, w) at strides 32 to 8."""
    last = [F.avg_pool2d(torch.stack([state.masks, state.others], 2).flatten(0, 1), 2)]
    for _ in range(3):
        last.insert(0, F.avg_pool2d(last[0], 2))
    still = last[2].new_zeros(last[2].shape[0], CUES, *last[2].shape[2:])
    cues = [still if motion is None else motion.flatten(0, 1)]
    for _ in range(2):
        cues.insert(0, F.avg_pool2d(cues[0], 2))
    return last, cues

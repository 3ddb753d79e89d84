"""Convolutional recurrent cells with a spatial and a temporal state.

Both cells see an input ``x`` (B, C, H, W), the hidden state ``spatial`` of the previous object in this frame (hS) and
the hidden state ``temporal`` of this object in the previous frame (hT), each (B, hidden, H, W), zeros where there is
none.
"""

from typing import Literal

import torch
from torch import Tensor, nn


class ConvGRU(nn.Module):
    """Spatio-temporal ConvGRU (paper, eq 4-9).

    ``states``: the gates see ``concat`` [x, hS, hT] (the paper's reading) or ``sum`` [x, hS + hT].
    ``candidate``: ``sigmoid`` (eq 6: tanh(sigmoid(conv x) + …)) or ``linear`` (tanh(conv x + …)).
    ``carry``: the state the update gate keeps, ``spatial`` (eq 9) or ``temporal``.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        reset_gates: Literal[1, 2] = 1,
        states: Literal["concat", "sum"] = "concat",
        candidate: Literal["sigmoid", "linear"] = "sigmoid",
        carry: Literal["spatial", "temporal"] = "spatial",
    ) -> None:
        super().__init__()
        self.hidden, self.states, self.candidate, self.carry = hidden, states, candidate, carry
        gates = (1 + reset_gates) * hidden
        self.of_input = nn.Conv2d(inputs, gates + hidden, 3, padding=1)
        self.of_states = nn.Conv2d(hidden * (2 if states == "concat" else 1), gates, 3, padding=1, bias=False)

    def forward(self, x: Tensor, spatial: Tensor, temporal: Tensor, cell: Tensor | None) -> tuple[Tensor, None]:
        gates, current = self.of_input(x).tensor_split([-self.hidden], 1)
        seen = torch.cat([spatial, temporal], 1) if self.states == "concat" else spatial + temporal
        update, *resets = (gates + self.of_states(seen)).sigmoid().split(self.hidden, 1)
        if len(resets) == 1:
            remembered = resets[0] * (spatial + temporal)
        else:
            remembered = resets[0] * spatial + resets[1] * temporal
        candidate = torch.tanh((current.sigmoid() if self.candidate == "sigmoid" else current) + remembered)
        return torch.lerp(candidate, spatial if self.carry == "spatial" else temporal, update), None


class ConvLSTM(nn.Module):
    """Spatio-temporal ConvLSTM (RVOS; paper, eq 1-3): the cell state comes from the previous object of the frame,
    hT enters the gates only."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + 2 * hidden, 4 * hidden, 3, padding=1)

    def forward(self, x: Tensor, spatial: Tensor, temporal: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor]:
        keep, write, out, candidate = self.gates(torch.cat([x, spatial, temporal], 1)).chunk(4, 1)
        new = write.sigmoid() * candidate.tanh()
        cell = new if cell is None else keep.sigmoid() * cell + new
        return out.sigmoid() * cell.tanh(), cell

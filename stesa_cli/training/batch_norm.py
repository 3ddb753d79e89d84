"""Batch norms that several processes share, as if they were one."""

from typing import Any

import torch
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """The sum over all processes, whose gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    backward = forward


class SharedBatchNorm(nn.BatchNorm2d):
    """In training, batch statistics over the batches of all processes, which are of one size, as if one process had
    them all. (torch's SyncBatchNorm does not run on CPUs.)"""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, input: Tensor) -> Tensor:
        normed = self._shared(input) if self.training else super().forward(input)
        activation = getattr(self, "act", None)  # timm's norm layers hold the one that follows
        return normed if activation is None else activation(normed)

    def _shared(self, input: Tensor) -> Tensor:
        x = input.float()
        processes = torch.distributed.get_world_size()
        mean = _Sum.apply(x.mean((0, 2, 3))) / processes
        centred = x - mean[:, None, None]
        variance = _Sum.apply(centred.square().mean((0, 2, 3))) / processes
        with torch.no_grad():
            count = processes * x.numel() / x.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)


def share_batch_norm(network: nn.Module) -> None:
    """Turn every batch norm of a network into one of all processes, in place."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SharedBatchNorm

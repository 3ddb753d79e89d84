"""A network made ready to run frame by frame: what never changes between frames is done once."""

from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from stesa_cli.model.efficientnet_lite import Convolution
from stesa_cli.model.encoder import fold_batch_norm
from stesa_cli.model.network import Network
from stesa_cli.runtime import Precision, autocast_dtype


def prepared(network: Network, precision: Precision) -> Network:
    """A copy of a network that is on its device, to run under ``runtime.autocast``: its weights are in that precision
    from the beginning, the batch norms of the skips are folded, and on CPUs convolutions are packed."""
    network, dtype = deepcopy(network), autocast_dtype(network.device, precision)
    fold_batch_norm(network.skips)
    packs = network.device.type == "cpu" and _packs(dtype)
    for name, module in list(network.named_modules()):
        if packs and isinstance(module, nn.Conv2d):
            network.set_submodule(name, Packed(module, dtype or torch.float32))
        elif dtype and isinstance(module, nn.Conv2d | nn.Linear):
            for key, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, key, nn.Parameter(parameter.detach().to(dtype), requires_grad=False))
    return network


def _packs(dtype: torch.dtype | None) -> bool:
    """Whether oneDNN is there, and computes in ``dtype``."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype is None or (dtype is torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))


class Packed(nn.Module):
    """A convolution whose weights are laid out as oneDNN reads them, once for each shape of its input, and with what
    follows it in the same step: what torch's compiler makes of one, without a compiler. PyTorch's own call lays them
    out anew each time, which can take longer than the convolution."""

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        weight, clipped = convolution.weight, False
        if isinstance(convolution, Convolution):
            weight, clipped = convolution.kernel, convolution.clipped
        self._weight = weight.detach().to(dtype)
        self._bias = None if convolution.bias is None else convolution.bias.detach().to(dtype)
        padding = list(cast(tuple[int, ...], convolution.padding))
        self._layout = padding, list(convolution.stride), list(convolution.dilation), convolution.groups
        self._then: tuple[str, list[float], str] = ("hardtanh", [0.0, 6.0], "") if clipped else ("none", [], "")
        self._packed: dict[torch.Size, Tensor] = {}

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        x = x.to(self._weight.dtype)
        if x.shape not in self._packed:
            onednn: Any = torch._C._nn
            packed = onednn.mkldnn_reorder_conv2d_weight(self._weight.to_mkldnn(), *self._layout, list(x.shape))
            self._packed[x.shape] = packed
        given = self._packed[x.shape], self._bias, *self._layout
        if added is not None:
            return torch.ops.mkldnn._convolution_pointwise.binary(x, added, *given, "add", 1.0, None, [], None)
        return torch.ops.mkldnn._convolution_pointwise(x, *given, *self._then)

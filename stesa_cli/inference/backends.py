"""Which backend computes a network."""

from copy import deepcopy

import torch
from torch import nn

from stesa_cli.errors import ConfigError
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.model.backend import Backend
from stesa_cli.model.network import Network
from stesa_cli.runtime import autocast_dtype, resolved


def find_backend(network: Network, config: InferenceConfig) -> Backend:
    """What runs a network that is on its device. Raises ConfigError where what is asked for by name cannot run."""
    if config.backend == "openvino":
        if network.device.type != "cpu":
            raise ConfigError("OpenVINO computes on CPUs", "backend", "use --device cpu, or --backend torch")
        try:
            from stesa_cli.inference.openvino import OpenVINO

            return OpenVINO(network, resolved(network.device, config.precision))
        except Exception as error:  # whatever a runtime of another project raises
            what = f"OpenVINO cannot be used ({str(error).partition(chr(10))[0]})"
            raise ConfigError(what, "backend", "use --backend torch, or pip install 'stesa-cli[openvino]'") from error
    return cast_once(network, autocast_dtype(network.device, config.precision))


def cast_once(network: Network, dtype: torch.dtype | None) -> Network:
    """A network whose products are computed in ``dtype``, under autocast: its weights are in it from the beginning, so
    that they need not be cast in every frame."""
    if dtype is None:
        return network
    network = deepcopy(network)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            for key, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, key, nn.Parameter(parameter.detach().to(dtype), requires_grad=False))
    return network

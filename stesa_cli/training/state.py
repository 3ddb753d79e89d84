"""What training changes, and a checkpoint therefore holds: weights, their moving average, the optimizer's state, and
the weights that a stage with a blend began with."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stesa_cli.checkpoint import load_strictly, load_weights, part
from stesa_cli.model.network import Network
from stesa_cli.training.config import RunConfig, StageConfig, TrainConfig


def make_network(config: RunConfig, new: bool) -> Network:
    """The network of a run, with the weights that the config names if the run is new, and with frozen parameters where
    nothing is to be trained. Raises ConfigError."""
    initial, frozen = config.train.initial if new else None, list(config.train.frozen)
    network = Network(config.model, imagenet=config.train.imagenet and new and not initial)
    if initial:
        load_weights(network, initial)
    if not any(stage.encoder_rate for stage in config.stages):
        frozen.append("encoder.")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not any(begins(name, pattern) for pattern in frozen))
    return network


def begins(name: str, pattern: str) -> bool:
    """Whether a parameter's name begins as the pattern says."""
    return fnmatchcase(name, f"{pattern}*")


class TrainingState:
    """A ``network``, the exponential moving average ``ema`` of its weights, which a run exports, and the
    ``optimizer``."""

    def __init__(self, network: Network, train: TrainConfig) -> None:
        self.network = network
        self.ema = AveragedModel(network, multi_avg_fn=_average(train.ema), use_buffers=True).eval()
        self.began: dict[str, Tensor] = {}
        groups: dict[str, list[torch.nn.Parameter]] = {"encoder": [], "motion": [], "decoder": []}
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                # the memory's few numbers must move further than weights do
                group = "motion" if name.startswith("memory.log_") else name.partition(".")[0]
                groups[group if group in groups else "decoder"].append(parameter)
        optimizer = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = optimizer([{"params": group} for group in groups.values()], weight_decay=train.weight_decay)

    def set_rates(self, stage: StageConfig, step: int) -> None:
        """The learning rates of a step of a stage."""
        rates = stage.encoder_rate, stage.motion_rate, stage.decoder_rate
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * stage.rate(step)

    def begin(self) -> None:
        """Keep a copy of the weights, for ``blend``."""
        self.began = {name: tensor.clone() for name, tensor in self._weights().items()}

    def blend(self, share: float) -> None:
        """Mix the weights that ``begin`` kept back in, with this ``share``: the network's and the average's alike."""
        for name, tensor in self._weights().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.lerp(self.began[name], tensor, 1 - share))
        self.began = {}

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, for a checkpoint."""
        tensors = self._weights() | {f"began.{name}": tensor for name, tensor in self.began.items()}
        for name, parameter in self.network.named_parameters():
            for kind, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{kind}"] = torch.as_tensor(value)
        return tensors

    def load(self, tensors: dict[str, Tensor], step: int, where: Path) -> None:
        """Restore what ``tensors`` returned after a step. Raises ConfigError as ``load_strictly`` does."""
        load_strictly(self.network, part(tensors, "model."), where)
        load_strictly(self.ema.module, part(tensors, "ema."), where)
        self.ema.n_averaged.fill_(step)
        now = self._weights()
        self.began = {name: tensor.to(now[name].device) for name, tensor in part(tensors, "began.").items()}
        for name, parameter in self.network.named_parameters():
            if state := part(tensors, f"optimizer.{name}."):
                for kind, value in state.items():
                    if value.dim():
                        state[kind] = value.to(parameter.device).clone(memory_format=torch.preserve_format)
                self.optimizer.state[parameter] = state

    def _weights(self) -> dict[str, Tensor]:
        weights = {f"model.{name}": tensor for name, tensor in self.network.state_dict().items()}
        return weights | {f"ema.{name}": tensor for name, tensor in self.ema.module.state_dict().items()}


def _average(decay: float) -> Callable[..., None]:
    """Exponential moving average whose window grows from a few steps to ``1 / (1 - decay)``."""

    def update(averaged: Any, current: Any, count: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(count)) / (10 + int(count))))(averaged, current, count)

    return update

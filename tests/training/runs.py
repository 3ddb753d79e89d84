"""Short runs of the tiny config."""

import tomllib
from pathlib import Path
from typing import Any

import torch

from stesa_cli.checkpoint import read
from stesa_cli.training.config import RunConfig
from stesa_cli.training.trainer import Trainer

from ..tiny import TINY

CONFIG = RunConfig.parse(tomllib.loads(TINY))
CLIP = CONFIG.stages[0].clip


def changed(train: dict[str, Any] | None = None, **stage: Any) -> RunConfig:
    """The first stage alone, with other settings."""
    stages = (CONFIG.stages[0].model_copy(update=stage),)
    return CONFIG.model_copy(update={"stages": stages, "train": CONFIG.train.model_copy(update=train or {})})


PLAIN: dict[str, Any] = {"device": "cpu", "precision": "fp32", "workers": 0}
"""The same on every machine, also on one that multiplies bf16 natively."""


def run(config: RunConfig, data, folder, until: int | None = None) -> list:
    reports = []
    for report in Trainer(config, data, folder, **PLAIN).run():
        reports.append(report)
        if report.step == until:
            break  # as a kill: what came after the last checkpoint is lost
    return reports


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return read(folder / "last.safetensors")[0]

"""A tiny network with everything that the default one has."""

from pathlib import Path

import torch

from stesa_cli.checkpoint import save
from stesa_cli.model.network import MemoryConfig, ModelConfig, Network

MODEL = ModelConfig(
    encoder="test_efficientnet",
    skips=(8, 8, 8, 8),
    hidden=(8, 8, 8, 8),
    nlb="none",
    auxiliary=False,
    aggregate=True,
    memory=MemoryConfig(mem_every=2, max_mem_frames=2),
    flow=True,
    motion=4,
)


def tiny_network() -> Network:
    """Always the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(MODEL)


def tiny_weights(path: Path) -> Path:
    save(path, tiny_network().state_dict(), MODEL, {"step": 3})
    return path

"""A tiny network with everything that the default one has."""

from pathlib import Path

import numpy as np
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
TOGETHER = MODEL.model_copy(update={"objects": "together", "motion": 0})
"""All objects at once."""


def tiny_network(config: ModelConfig = MODEL) -> Network:
    """Always the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(config)


def tiny_weights(path: Path) -> Path:
    save(path, tiny_network().state_dict(), MODEL, {"step": 3})
    return path


def moving_squares(size: tuple[int, int], frames: int = 6) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames (H, W, 3) uint8 RGB of noise that moves, and the label map of three squares."""
    random = np.random.default_rng(0)
    picture = np.kron(random.integers(0, 255, (12, 20, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    labels = np.zeros(size, np.uint8)
    for i in range(3):
        labels[10 + 5 * i : 50 + 5 * i, 10 + 30 * i : 35 + 30 * i] = i + 1
    return [np.roll(picture, 3 * t, 1)[: size[0], : size[1]] for t in range(frames)], labels

"""Finetuning: before the video begins, the decoder learns the objects of the first prompted frame (as OSVOS does)."""

from collections.abc import Callable
from copy import deepcopy

import cv2
import numpy as np
import torch
from torch import Tensor

from stesa_cli.data.clip import Clip, collate
from stesa_cli.data.flow import clip_flow
from stesa_cli.data.motion import moved, relit
from stesa_cli.masks import VOID, object_ids, one_hot
from stesa_cli.model.losses import clip_losses
from stesa_cli.model.network import MULTIPLE, Network
from stesa_cli.runtime import Precision, autocast

RATE = 2e-4  # rises to this in WARMUP steps, and falls to zero
WARMUP = 3
STEPS = 20
SIZE = 320  # short side of the clips, in pixels, at most
CLOSE = 1 / 5  # what share of the frame's height and width a clip shows, at least
AIM = 0.1  # how far from its centre an object's pixel may be, in heights and widths (standard deviation)
LENGTH = 3  # frames of a clip
OBJECTS = 3  # of a clip
CLIP_NORM = 5.0  # of the gradient, at most
FRACTION = 0.25  # of the pixels, the hardest, count in the cross-entropy
SHARE = 0.75  # of the trained weights in their mean with those before, which know of more than one picture


def finetune(
    network: Network,
    image: np.ndarray,
    labels: np.ndarray,
    precision: Precision = "auto",
    size: int = SIZE,
    on_step: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Tensor]:
    """Train a copy of ``network``, but for encoder and motion, for STEPS steps on clips in which parts of a frame
    (H, W, 3) uint8 RGB and its label map (H, W) uint8 are set in motion, their short side ``size`` pixels at most.

    Returns the trained weights by name, each a mean of what it has become and what it was (SHARE; WiSE-FT, Wortsman et
    al. 2022). ``on_step`` hears the steps done and how many there are; what it raises ends the training."""
    network, ids, random = deepcopy(network), object_ids(labels), np.random.default_rng(0)
    device = next(network.parameters()).device
    trained = {n: p for n, p in network.named_parameters() if not n.startswith(("encoder.", "motion."))}
    network.requires_grad_(False)
    for parameter in trained.values():
        parameter.requires_grad_()
    before = {name: parameter.detach().clone() for name, parameter in trained.items()}
    optimizer = torch.optim.AdamW(trained.values(), RATE)
    on_step(0, STEPS)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARMUP) * (1 + np.cos(np.pi * step / STEPS)) / 2
        batch = collate([_clip(image, labels, random.permutation(ids)[:OBJECTS], size, random)]).to(device)
        with autocast(device, precision):
            masks = one_hot(batch.labels, list(range(1, batch.prompted.shape[1] + 1)))
            frames = batch.frames.float() / 255
            predictions = network(frames, masks, batch.prompted, batch.teacher_forcing, batch.flow)
            losses = clip_losses(predictions, batch.labels, batch.prompted, FRACTION)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        on_step(step + 1, STEPS)
    return {name: torch.lerp(before[name], parameter.detach(), SHARE) for name, parameter in trained.items()}


def _clip(image: np.ndarray, labels: np.ndarray, chosen: np.ndarray, size: int, random: np.random.Generator) -> Clip:
    """A clip of the objects ``chosen``, about a pixel of the first of them."""
    layer = relit(moved([_part(image, labels, chosen[0], size, random)] * LENGTH, random, elastic=True), random)
    order = np.zeros(256, np.uint8)
    order[VOID] = VOID
    order[chosen] = np.arange(1, len(chosen) + 1)
    frames = torch.from_numpy(np.stack([frame for frame, _ in layer])).permute(0, 3, 1, 2)
    return Clip(
        frames,
        torch.from_numpy(np.stack([order[mask] for _, mask in layer])),
        prompted=torch.zeros(len(chosen), dtype=torch.int64),
        teacher_forcing=torch.zeros(LENGTH, dtype=torch.bool),
        flaws=torch.full((LENGTH, 1, 1), VOID, dtype=torch.uint8),
        flow=clip_flow(frames),
    )


def _part(
    image: np.ndarray, labels: np.ndarray, chosen: int, most: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a frame and its label map about a pixel of the object ``chosen``, as large as the frame, but no more
    than ``most`` pixels on its short side."""
    frame, share = np.array(labels.shape), np.exp(random.uniform(np.log(CLOSE), 0))
    size = np.round(share * frame).astype(int)
    centre = random.choice(np.argwhere(labels == chosen)) + random.normal(0, AIM, 2) * size
    y, x = np.clip(centre - size / 2, 0, frame - size).astype(int)
    part = slice(y, y + size[0]), slice(x, x + size[1])
    scale = min(1, most / min(frame))
    height, width = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in frame)
    shown = cv2.resize(image[part], (width, height), interpolation=cv2.INTER_AREA if scale < share else cv2.INTER_CUBIC)
    return shown, cv2.resize(labels[part], (width, height), interpolation=cv2.INTER_NEAREST)

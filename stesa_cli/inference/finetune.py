"""Adaptation to the first frame: before the video begins, the decoder learns the given objects (as OSVOS does)."""

import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

from stesa_cli.data.clip import Clip, collate
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
SHARE = 0.75  # of the adapted weights in their mean with those before, which know of more than one picture


def adapt(
    network: Network,
    image: np.ndarray,
    labels: np.ndarray,
    seconds: float,
    precision: Precision = "auto",
    stopped: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, int], None] = lambda done, of: None,
) -> int:
    """Train ``network`` but for encoder and motion, in place, for STEPS or so many seconds at most, on clips in which
    parts of the frame (H, W, 3) uint8 RGB and its label map (H, W) uint8 are set in motion; it ends as a mean of what
    it has become and what it was (SHARE; WiSE-FT, Wortsman et al. 2022). ``on_step`` hears the steps done and how many
    there may be. Returns the number of steps."""
    device = next(network.parameters()).device
    ids, random = object_ids(labels), np.random.default_rng(0)
    trained = [p for name, p in network.named_parameters() if not name.startswith(("encoder.", "motion."))]
    network.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_()
    before = [parameter.detach().clone() for parameter in trained]
    optimizer = torch.optim.AdamW(trained, RATE)
    begun, steps, share = time.perf_counter(), 0, 0.0
    while ids and share < 1 and not stopped():
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (steps + 1) / WARMUP) * (1 + np.cos(np.pi * share)) / 2
        chosen = random.permutation(ids)[:OBJECTS]
        layer = relit(moved([_part(image, labels, chosen[0], random)] * LENGTH, random, elastic=True), random)
        order = np.zeros(256, np.uint8)
        order[VOID] = VOID
        order[chosen] = np.arange(1, len(chosen) + 1)
        clip = Clip(
            torch.from_numpy(np.stack([frame for frame, _ in layer])).permute(0, 3, 1, 2),
            torch.from_numpy(np.stack([order[mask] for _, mask in layer])),
            torch.zeros(len(chosen), dtype=torch.int64),
            torch.zeros(LENGTH, dtype=torch.bool),
            torch.full((LENGTH, 1, 1), VOID, dtype=torch.uint8),
        )
        batch = collate([clip]).to(device)
        with autocast(device, precision):
            masks = one_hot(batch.labels, list(range(1, len(chosen) + 1)))
            predictions = network(batch.frames.float() / 255, masks, batch.given, batch.truth_fed)
            losses = clip_losses(predictions, batch.labels, batch.given, FRACTION)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        share = max((time.perf_counter() - begun) / seconds, steps / STEPS)
        on_step(steps, max(steps, round(steps / share)))
    with torch.no_grad():
        for parameter, old in zip(trained, before, strict=True):
            parameter.lerp_(old, 1 - SHARE)
    return steps


def _part(
    image: np.ndarray, labels: np.ndarray, chosen: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a frame and its label map about a pixel of the object ``chosen``, at the size of a clip's frames."""
    frame, share = np.array(labels.shape), np.exp(random.uniform(np.log(CLOSE), 0))
    size = np.round(share * frame).astype(int)
    centre = random.choice(np.argwhere(labels == chosen)) + random.normal(0, AIM, 2) * size
    y, x = np.clip(centre - size / 2, 0, frame - size).astype(int)
    part = slice(y, y + size[0]), slice(x, x + size[1])
    scale = min(1, SIZE / min(frame))
    height, width = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in frame)
    shown = cv2.resize(image[part], (width, height), interpolation=cv2.INTER_AREA if scale < share else cv2.INTER_CUBIC)
    return shown, cv2.resize(labels[part], (width, height), interpolation=cv2.INTER_NEAREST)

"""Which frames and objects make a clip, and synthetic motion for still photographs and pasted objects.

A clip is a pure function of (seed, index): a run that resumes, or is spread over processes, sees the same clips."""

from typing import Annotated

import cv2
import numpy as np
import torch
from pydantic import Field
from torch.utils.data import Dataset

from stesa_cli.config import Config
from stesa_cli.data.clip import Clip
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.data.transforms import augment, augmentation
from stesa_cli.masks import VOID, object_ids

MIN_AREA = 100  # pixels an object must have in the first frame of a clip
Side = Annotated[int, Field(gt=0, multiple_of=32)]
Layer = list[tuple[np.ndarray, np.ndarray]]
"""Frames (h, w, 3) uint8 RGB with their label maps (h, w) uint8, one a time step."""


class ClipConfig(Config):
    """How clips are made."""

    length: int = Field(4, ge=2)
    size: tuple[Side, Side] = (256, 448)
    """Height and width of a crop."""
    objects: int = Field(2, ge=1)
    max_gap: int = Field(5, ge=1)
    zoom: tuple[float, float] = (0.35, 1.0)
    """Share of the frame's area that a crop shows."""
    paste: float = Field(0.3, ge=0, le=1)
    """Share of clips that get an object of another picture pasted in, with a motion of its own."""
    truth_fed: float = Field(0.1, ge=0, le=1)
    """Share of frames after which the true mask is handed on instead of the prediction."""


class ClipDataset(Dataset[Clip]):
    """Clips drawn from weighted sources of sequences; a sequence of one frame is set in motion."""

    def __init__(
        self, sources: list[tuple[float, list[VideoSequence]]], config: ClipConfig, seed: int, length: int
    ) -> None:
        self.sources = [sequences for _, sequences in sources]
        weights = np.array([weight for weight, _ in sources], dtype=float)
        self.weights = weights / weights.sum()
        self.config, self.seed, self.length = config, seed, length
        self.transform = augmentation(config.size, config.zoom)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        random = np.random.default_rng((self.seed, index))
        cv2.setNumThreads(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(random.integers(2**62)))
            while True:
                clip = self._clip(random)
                if clip is not None:
                    return clip

    def _clip(self, random: np.random.Generator) -> Clip | None:
        config = self.config
        layer = self._layer(random)
        chosen = [i for i in object_ids(layer[0][1]) if (layer[0][1] == i).sum() >= MIN_AREA]
        random.shuffle(chosen)
        chosen = chosen[: config.objects]
        if random.random() < config.paste:
            pasted = self._paste(layer, random)
            # one paste in three is a passer-by that hides things and must be told from the objects
            if pasted is not None and random.random() < 2 / 3:
                at = int(random.integers(len(chosen) + 1))
                chosen = [*chosen[:at], pasted, *chosen[at:]][: config.objects]
        frames = torch.from_numpy(np.stack([image for image, _ in layer])).permute(0, 3, 1, 2)
        frames, ids = augment(self.transform, frames, torch.from_numpy(np.stack([labels for _, labels in layer])))
        chosen = [i for i in chosen if (ids[0] == i).sum() >= MIN_AREA]
        if not chosen:
            return None
        order = np.zeros(256, np.uint8)
        order[VOID] = VOID
        order[chosen] = np.arange(1, len(chosen) + 1)
        truth_fed = torch.from_numpy(random.random(config.length) < config.truth_fed)
        return Clip(frames.contiguous(), torch.from_numpy(order)[ids.long()], len(chosen), truth_fed)

    def _layer(self, random: np.random.Generator) -> Layer:
        source = self.sources[random.choice(len(self.sources), p=self.weights)]
        sequence = source[random.integers(len(source))]
        annotated = [i for i, path in enumerate(sequence.annotations) if path is not None]
        length = self.config.length
        if len(annotated) < length:
            index = annotated[random.integers(len(annotated))]
            return moved([(sequence.image(index), sequence.labels(index))] * length, random, elastic=True)
        gap = int(random.integers(1, min(self.config.max_gap, (len(annotated) - 1) // (length - 1)) + 1))
        start = random.integers(len(annotated) - gap * (length - 1))
        picked = annotated[start : start + gap * (length - 1) + 1 : gap]
        if random.random() < 0.5:
            picked.reverse()
        return [(sequence.image(i), sequence.labels(i)) for i in picked]

    def _paste(self, layer: Layer, random: np.random.Generator) -> int | None:
        """Paste an object of another picture over ``layer``, in place; return its id, or None if there was none."""
        other = self._layer(random)
        ids = object_ids(other[0][1])
        if not ids:
            return None
        chosen = ids[random.integers(len(ids))]
        new = max(i for labels in layer for i in [*object_ids(labels[1]), 0]) + 1
        if new >= VOID:
            return None
        size = layer[0][0].shape[:2]
        cut = [(image, (labels == chosen).astype(np.uint8)) for image, labels in other]
        for t, (image, mask) in enumerate(moved(cut, random, elastic=False, size=size, spread=0.3, border=False)):
            alpha = cv2.GaussianBlur(mask * np.float32(1), (3, 3), 0)[..., None]
            under, labels = layer[t]
            blended = image * alpha + under * (1 - alpha)
            layer[t] = blended.round().astype(np.uint8), np.where(mask > 0, new, labels).astype(np.uint8)
        return new


def moved(
    layer: Layer,
    random: np.random.Generator,
    elastic: bool,
    size: tuple[int, int] | None = None,
    spread: float = 0.05,
    border: bool = True,
) -> Layer:
    """Set a layer in motion: a smooth random affine path, with trembling, and a slow elastic warp.

    ``size`` (H, W) of the result, by default the layer's; ``spread`` how far from the centre the path may start, as a
    share of the size; ``border`` whether the picture is mirrored beyond its edge, else there is no object there."""
    height, width = size or layer[0][0].shape[:2]
    length = len(layer)
    speed = random.uniform(0, 1) ** 2  # most clips move little, as most videos do
    start = random.normal(0, [spread, spread, 0.12, 0.12, 0.1, 0.08])
    step = random.normal(0, speed * np.array([0.08, 0.06, 0.12, 0.05, 0.05, 0.04]))
    path = start + step * np.arange(length)[:, None] + random.normal(0, 0.006, (length, 6))
    bends = random.normal(0, 0.02 if elastic else 0.0, (2, 4, 5, 2))
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height)), -1).astype(np.float32)
    result = []
    for t, (image, labels) in enumerate(layer):
        x, y, angle, scale, shear, stretch = path[t]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        squeeze = np.exp(-scale) * np.array([[np.exp(stretch), shear], [0, np.exp(-stretch)]])
        bend = bends[0] + (bends[1] - bends[0]) * t / length
        where = (grid - np.array([x, y], np.float32)) @ (turn @ squeeze).astype(np.float32)
        where += cv2.resize(bend.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        maps = (where + 0.5) * np.array([image.shape[1] - 1, image.shape[0] - 1], np.float32)
        mode = cv2.BORDER_REFLECT_101 if border else cv2.BORDER_CONSTANT
        result.append(
            (
                cv2.remap(image, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
                cv2.remap(labels, maps[..., 0], maps[..., 1], cv2.INTER_NEAREST, borderMode=mode),
            )
        )
    return result

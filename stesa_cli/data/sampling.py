"""Which frames and objects make a clip.

A clip is a pure function of (seed, index): a run that resumes, or is spread over processes, sees the same clips."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Self

import cv2
import numpy as np
import torch
from pydantic import Field, model_validator
from torch.utils.data import Dataset

from stesa_cli.config import Config
from stesa_cli.data.clip import Clip
from stesa_cli.data.flaws import STRIDE, cover, draw_flaws
from stesa_cli.data.flow import clip_flow
from stesa_cli.data.motion import Layer, approach, moved, over, relit, trail, turn
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.data.transforms import augment, augmentation
from stesa_cli.errors import InputError
from stesa_cli.masks import VOID, object_ids

LEFT = 0.15
"""What share of an object a rough prompt shows at least."""
MIN_AREA = 100  # pixels an object must have in the frame of a clip that shows it first
TRIES = 1000
APART = 0.04
"""How far from all objects a distractor comes in, in heights of the frame."""
PLACES = 8
Side = Annotated[int, Field(gt=0, multiple_of=32)]


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
    lookalike: float = Field(0, ge=0, le=1)
    """Share of the pasted objects that are copies of an object of the clip, mirrored or not: only their place tells the
    two apart."""
    teacher_forcing: float = Field(0.1, ge=0, le=1)
    """Share of frames after which the true mask is propagated instead of the prediction."""
    flaws: float = Field(0, ge=0, le=1)
    """Share of frames after which the propagated mask lacks parts of an object, or has too much."""
    lost: float = Field(0.75, ge=0, le=1)
    """Share of the flaws that are lost parts."""
    rough: float = Field(0, ge=0, le=1)
    """Share of clips in which the prompts of the first frame have such flaws, as rough masks do."""
    cover: float = Field(0, ge=0, le=1)
    """Share of clips in which parts of an object are covered at first and come into view later."""
    intruder: float = Field(0, ge=0, le=1)
    """Share of clips in which a distractor (a look-alike, or an object of another picture) comes in later, apart from
    the tracked objects, as part of the background."""
    turn: float = Field(0, ge=0, le=1)
    """Share of clips in which an object turns and shows another side, taken from an object of another picture."""
    approach: float = Field(0, ge=0, le=1)
    """Share of clips in which the camera moves towards an object, or away from it."""
    trail: float = Field(0, ge=0, le=1)
    """Share of clips in which smoke, dust or a shadow moves with an object and is no part of it."""
    recolour: float = Field(0, ge=0, le=1)
    """Share of clips whose colours are changed altogether."""
    sharpen: float = Field(0, ge=0, le=1)
    """Share of clips that are sharpened: enlarged crops are softer than the frames of a video in use."""
    light: float = Field(0, ge=0, le=1)
    """Share of the clips made of a still picture whose light changes."""
    motion_blur: float = Field(0, ge=0, le=1)
    """Share of the clips made of a still picture that are smeared along their motion."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not 0 < self.zoom[0] <= self.zoom[1] <= 1:
            raise ValueError("zoom is a range within (0, 1], the smaller share first")
        return self


class ClipDataset(Dataset[Clip]):
    """Clips drawn from weighted sources of sequences; a single frame is set in motion, a sequence shorter than a clip
    goes there and back.

    When a file cannot be read, the clip is drawn again, and ``Clip.unreadable`` names the file."""

    def __init__(
        self, sources: list[tuple[float, list[VideoSequence]]], config: ClipConfig, seed: int, length: int
    ) -> None:
        self.sources = [sequences for _, sequences in sources]
        weights = np.array([weight for weight, _ in sources], dtype=float)
        self.weights = weights / weights.sum()
        self.config, self.seed, self.length = config, seed, length
        self.transform = augmentation(config.size, config.zoom, config.sharpen, config.recolour)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        """Raises InputError when no try makes a clip."""
        random = np.random.default_rng((self.seed, index))
        unreadable: dict[str, None] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(random.integers(2**62)))
            for _ in range(TRIES):
                try:
                    clip = self._clip(random)
                except InputError as error:
                    unreadable[str(error)] = None
                    continue
                if clip is not None:
                    return replace(clip, unreadable=tuple(unreadable))
        what = f"no clip in {TRIES} tries has an object of {MIN_AREA} pixels"
        raise InputError("; ".join([what, *list(unreadable)[:1]]), fix="check the masks")

    def _clip(self, random: np.random.Generator) -> Clip | None:
        config, layer = self.config, self._layer(random)
        chosen = list(_entries([labels for _, labels in layer]))
        random.shuffle(chosen)
        chosen = chosen[: config.objects]
        if chosen and random.random() < config.cover:
            cover(layer, chosen[0], random)
        if chosen and random.random() < config.turn:
            self._turn(layer, random.choice(chosen), random)
        if random.random() < config.paste:
            pasted = self._paste(layer, random)
            # one paste in three is a distractor, which hides objects and must be told from them
            if pasted is not None and random.random() < 2 / 3:
                at = int(random.integers(len(chosen) + 1))
                chosen = [*chosen[:at], pasted, *chosen[at:]][: config.objects]
        if chosen and random.random() < config.intruder:
            self._intrude(layer, chosen, random)
        if chosen and random.random() < config.approach:
            approach(layer, random.choice(chosen), random)
        if chosen and random.random() < config.trail:
            trail(layer, random.choice(chosen), random)
        frames = torch.from_numpy(np.stack([image for image, _ in layer])).permute(0, 3, 1, 2)
        frames, ids = augment(self.transform, frames, torch.from_numpy(np.stack([labels for _, labels in layer])))
        entries = _entries(ids.numpy())
        chosen = [i for i in chosen if i in entries]
        prompted = torch.tensor([entries[i] for i in chosen])
        if 0 not in prompted:
            return None
        order = np.zeros(256, np.uint8)
        order[VOID] = VOID
        order[chosen] = np.arange(1, len(chosen) + 1)
        labels, images = order[ids.numpy()], frames.permute(0, 2, 3, 1).numpy()
        teacher_forcing = torch.from_numpy(random.random(config.length) < config.teacher_forcing)
        flaws = np.full((config.length, *(side // STRIDE for side in config.size)), VOID, np.uint8)
        if random.random() < config.rough:
            first = [i for i, entry in enumerate(prompted.tolist(), 1) if entry == 0]
            rough = draw_flaws(images[0], labels[0], first, config.lost, random)
            if _leaves_some(rough, labels[0], first):
                flaws[0] = rough
        for t in range(1, config.length):
            if t not in prompted and random.random() < config.flaws:
                entered = [i for i, entry in enumerate(prompted.tolist(), 1) if entry < t]
                flaws[t] = draw_flaws(images[t], labels[t], entered, config.lost, random)
        tensors = torch.from_numpy(labels), prompted, teacher_forcing, torch.from_numpy(flaws)
        return Clip(frames.contiguous(), *tensors, clip_flow(frames))

    def _layer(self, random: np.random.Generator) -> Layer:
        config = self.config
        source = self.sources[random.choice(len(self.sources), p=self.weights)]
        sequence = source[random.integers(len(source))]
        annotated = [i for i, path in enumerate(sequence.annotations) if path is not None]
        length = config.length
        if len(annotated) == 1:
            still = [(sequence.image(annotated[0]), sequence.labels(annotated[0]))] * length
            layer = moved(still, random, elastic=True, blur=random.random() < config.motion_blur)
            return relit(layer, random) if random.random() < config.light else layer
        while len(annotated) < length:  # there and back
            annotated += annotated[-2::-1]
        gap = int(random.integers(1, min(config.max_gap, (len(annotated) - 1) // (length - 1)) + 1))
        start = random.integers(len(annotated) - gap * (length - 1))
        picked = annotated[start : start + gap * (length - 1) + 1 : gap]
        if random.random() < 0.5:
            picked.reverse()
        return [(sequence.image(i), sequence.labels(i)) for i in picked]

    def _paste(self, layer: Layer, random: np.random.Generator) -> int | None:
        """Paste an object of another picture, or of the clip itself, over ``layer``, in place; return its id, or None
        if there was none."""
        alike = random.random() < self.config.lookalike
        other = _turned(layer, random) if alike else self._layer(random)
        ids = object_ids(other[0][1])
        if not ids:
            return None
        chosen = ids[random.integers(len(ids))]
        new = max(i for labels in layer for i in [*object_ids(labels[1]), 0]) + 1
        if new >= VOID:
            return None
        cut = moved(_cut(other, chosen), random, elastic=False, size=layer[0][1].shape, spread=0.3, border=False)
        for t, (image, mask) in enumerate(cut):
            layer[t] = over(layer[t], image, mask, new)
        return new

    def _turn(self, layer: Layer, chosen: int, random: np.random.Generator) -> None:
        """Let the object ``chosen`` of ``layer`` turn, in place: its other side is what is in the box around an object
        of another picture."""
        image, labels = self._layer(random)[0]
        if ids := object_ids(labels):
            x, y, width, height = cv2.boundingRect((labels == ids[random.integers(len(ids))]).view(np.uint8))
            turn(layer, chosen, image[y : y + height, x : x + width], random)

    def _intrude(self, layer: Layer, chosen: list[int], random: np.random.Generator) -> None:
        """Let a distractor come into ``layer``, in place: a look-alike of one of the objects ``chosen``, or an object
        of another picture, which belongs to the background. It comes in after the first frame, mostly behind the
        tracked objects, and apart from all of them: what appears next to an object may be a part coming into view."""
        alike, behind = random.random() < 0.7, random.random() < 0.8
        other = _turned(layer, random) if alike else self._layer(random)
        ids = [i for i in object_ids(other[0][1]) if not alike or i in chosen]
        if not ids:
            return
        if random.random() < 0.5:  # seldom in step with the object
            other = other[::-1]
        cut = _cut(other, ids[random.integers(len(ids))])
        if random.random() < 0.5:
            cut = relit(cut[:1] * len(cut), random) if random.random() < 0.5 else cut[:1] * len(cut)
        first = int(random.integers(1, len(layer)))
        size = layer[0][1].shape
        near = cv2.dilate(layer[first][1], np.ones([2 * int(APART * size[0]) + 1] * 2, np.uint8))
        for _ in range(PLACES):
            path = moved(cut, random, elastic=False, size=size, spread=0.3, border=False)
            if (path[first][1] > 0).sum() >= MIN_AREA and not (path[first][1] & (near > 0)).any():
                break
        else:
            return
        for t in range(first, len(layer)):
            image, mask = path[t]
            layer[t] = over(layer[t], image, mask * (layer[t][1] == 0) if behind else mask, 0)


def _turned(layer: Layer, random: np.random.Generator) -> Layer:
    """As it is, or mirrored."""
    turn = random.choice([-1, 1])
    return [(image[:, ::turn], labels[:, ::turn]) for image, labels in layer]


def _cut(layer: Layer, chosen: int) -> Layer:
    """With the mask, 0 or 1, of one object instead of labels."""
    return [(image, (labels == chosen).astype(np.uint8)) for image, labels in layer]


def _leaves_some(flaws: np.ndarray, labels: np.ndarray, ids: list[int]) -> bool:
    """Whether the flaws (h, w) leave each object of a label map (H, W) as much as LEFT of it."""
    small = cv2.resize(labels, flaws.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return all(((small == i) & (flaws == VOID)).sum() > LEFT * (small == i).sum() for i in ids)


def _entries(labels: Iterable[np.ndarray]) -> dict[int, int]:
    """The objects of a clip's label maps (h, w) uint8, and which frame shows each first; without those that are small
    there, and those that only the last frame shows."""
    areas = np.stack([np.bincount(frame.ravel(), minlength=VOID + 1) for frame in labels])
    first = (areas > 0).argmax(0)
    return {i: int(first[i]) for i in range(1, VOID) if areas[first[i], i] >= MIN_AREA and first[i] < len(areas) - 1}

"""Which frames and objects make a clip, and how that changes over a stage of training.

A clip is a pure function of (seed, index): a run that resumes, or is spread over processes, sees the same clips."""

from collections.abc import Iterable
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
from stesa_cli.data.motion import Layer, approach, moved, over, pan, relit, trail, turn
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.data.transforms import augment, augmentation
from stesa_cli.errors import InputError
from stesa_cli.masks import VOID, object_ids

MIN_AREA = 100  # pixels an object must have in the frame of a clip that shows it first
TRIES = 1000
APART = 0.04
"""How far from all objects what is none of those followed comes in, in heights of the frame."""
PLACES = 8
Side = Annotated[int, Field(gt=0, multiple_of=32)]


class ClipConfig(Config):
    """How clips are made."""

    length: int = Field(4, ge=2)
    size: tuple[Side, Side] = (256, 448)
    """Height and width of a crop."""
    objects: int = Field(2, ge=1)
    max_gap: int = Field(5, ge=1)
    growing_gaps: float = Field(0, ge=0, le=1)
    """Share of the stage over which the largest gap grows from 1 to ``max_gap`` (curriculum)."""
    zoom: tuple[float, float] = (0.35, 1.0)
    """Share of the frame's area that a crop shows."""
    paste: float = Field(0.3, ge=0, le=1)
    """Share of clips that get an object of another picture pasted in, with a motion of its own."""
    lookalike: float = Field(0, ge=0, le=1)
    """Share of the pasted objects that are an object of the clip itself once more, mirrored or not: only the place
    tells it from the other."""
    teacher_forcing: float = Field(0.1, ge=0, le=1)
    """Share of frames after which the true mask is handed on instead of the prediction."""
    truth_fed_end: float | None = Field(None, ge=0, le=1)
    """What that share has become by the end of the stage (scheduled sampling); not set, it stays."""
    flaws: float = Field(0, ge=0, le=1)
    """Share of frames after which the mask that is handed on has parts that are lost, or too much."""
    lost: float = Field(0.75, ge=0, le=1)
    """Share of the flaws that are parts lost."""
    lasting: float = Field(0, ge=0, le=1)
    """Share of the frames after one with flaws that have the same once more, as far as places correspond."""
    cover: float = Field(0, ge=0, le=1)
    """Share of clips in which parts of an object are covered at first, and come into view later."""
    intruder: float = Field(0, ge=0, le=1)
    """Share of clips in which a look-alike, or an object of another picture, comes in later, apart from those followed,
    and is none of them."""
    turn: float = Field(0, ge=0, le=1)
    """Share of clips in which an object comes to show another side, which looks like another picture's object."""
    approach: float = Field(0, ge=0, le=1)
    """Share of clips in which the camera comes near an object, or goes away from it."""
    pan: float = Field(0, ge=0, le=1)
    """Share of clips in which the camera goes past an object, and new background comes into view."""
    trail: float = Field(0, ge=0, le=1)
    """Share of clips in which something that is no object moves with one: smoke, dust, its shadow."""
    recolour: float = Field(0, ge=0, le=1)
    """Share of clips whose colours become others altogether."""
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

    def at(self, progress: float) -> Self:
        """What holds at a share of the stage, from 0 to 1."""
        end = self.teacher_forcing if self.truth_fed_end is None else self.truth_fed_end
        grown = progress / self.growing_gaps if progress < self.growing_gaps else 1.0
        now = {
            "teacher_forcing": self.teacher_forcing + progress * (end - self.teacher_forcing),
            "max_gap": 1 + int(grown * (self.max_gap - 1)),
        }
        return self.model_copy(update=now)


class ClipDataset(Dataset[Clip]):
    """Clips drawn from weighted sources of sequences; a sequence of one frame is set in motion.

    Their numbers go from ``first``, where the stage begins, to ``length``, where it ends."""

    def __init__(
        self,
        sources: list[tuple[float, list[VideoSequence]]],
        config: ClipConfig,
        seed: int,
        length: int,
        first: int = 0,
    ) -> None:
        self.sources = [sequences for _, sequences in sources]
        weights = np.array([weight for weight, _ in sources], dtype=float)
        self.weights = weights / weights.sum()
        self.config, self.seed, self.length, self.first = config, seed, length, first
        self.transform = augmentation(config.size, config.zoom, config.sharpen, config.recolour)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        random = np.random.default_rng((self.seed, index))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(random.integers(2**62)))
            config = self.config.at((index - self.first) / (self.length - self.first))
            for _ in range(TRIES):
                clip = self._clip(config, random)
                if clip is not None:
                    return clip
        raise InputError(f"no clip in {TRIES} tries has an object of {MIN_AREA} pixels", fix="check the masks")

    def _clip(self, config: ClipConfig, random: np.random.Generator) -> Clip | None:
        layer = self._layer(config, random)
        chosen = list(_entries([labels for _, labels in layer]))
        random.shuffle(chosen)
        chosen = chosen[: config.objects]
        if chosen and config.cover and random.random() < config.cover:
            cover(layer, chosen[0], random)
        if chosen and config.turn and random.random() < config.turn:
            self._turn(layer, chosen[random.integers(len(chosen))], config, random)
        if random.random() < config.paste:
            pasted = self._paste(layer, config, random)
            # one paste in three is a passer-by that hides things and must be told from the objects
            if pasted is not None and random.random() < 2 / 3:
                at = int(random.integers(len(chosen) + 1))
                chosen = [*chosen[:at], pasted, *chosen[at:]][: config.objects]
        if chosen and config.intruder and random.random() < config.intruder:
            self._intrude(layer, chosen, config, random)
        if chosen and config.approach and random.random() < config.approach:
            approach(layer, chosen[random.integers(len(chosen))], random)
        if chosen and config.pan and random.random() < config.pan:
            pan(layer, chosen[random.integers(len(chosen))], random)
        if chosen and config.trail and random.random() < config.trail:
            trail(layer, chosen[random.integers(len(chosen))], random)
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
        labels = torch.from_numpy(order)[ids.long()]
        teacher_forcing = torch.from_numpy(random.random(config.length) < config.teacher_forcing)
        flaws = torch.full([config.length, *(side // STRIDE for side in config.size)], VOID, dtype=torch.uint8)
        seed = None
        for t in range(1, config.length if config.flaws else 0):
            entered = [i for i, entry in enumerate(prompted.tolist(), 1) if entry < t]
            lasts = seed is not None and config.lasting > 0 and random.random() < config.lasting
            if (lasts or random.random() < config.flaws) and t not in prompted:
                seed = seed if lasts else int(random.integers(2**62))
                again = np.random.default_rng(seed)
                drawn = draw_flaws(frames[t].permute(1, 2, 0).numpy(), labels[t].numpy(), entered, config.lost, again)
                flaws[t] = torch.from_numpy(drawn)
            else:
                seed = None
        return Clip(frames.contiguous(), labels, prompted, teacher_forcing, flaws, clip_flow(frames))

    def _layer(self, config: ClipConfig, random: np.random.Generator) -> Layer:
        source = self.sources[random.choice(len(self.sources), p=self.weights)]
        sequence = source[random.integers(len(source))]
        annotated = [i for i, path in enumerate(sequence.annotations) if path is not None]
        length = config.length
        if len(annotated) < length:
            index = annotated[random.integers(len(annotated))]
            # a share of zero draws no number: the clips of older recipes stay what they were
            blur = config.motion_blur > 0 and random.random() < config.motion_blur
            still = [(sequence.image(index), sequence.labels(index))] * length
            layer = moved(still, random, elastic=True, blur=blur)
            return relit(layer, random) if config.light and random.random() < config.light else layer
        gap = int(random.integers(1, min(config.max_gap, (len(annotated) - 1) // (length - 1)) + 1))
        start = random.integers(len(annotated) - gap * (length - 1))
        picked = annotated[start : start + gap * (length - 1) + 1 : gap]
        if random.random() < 0.5:
            picked.reverse()
        return [(sequence.image(i), sequence.labels(i)) for i in picked]

    def _paste(self, layer: Layer, config: ClipConfig, random: np.random.Generator) -> int | None:
        """Paste an object of another picture, or of the clip itself, over ``layer``, in place; return its id, or None
        if there was none."""
        alike = config.lookalike and random.random() < config.lookalike
        other = _turned(layer, random) if alike else self._layer(config, random)
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

    def _turn(self, layer: Layer, chosen: int, config: ClipConfig, random: np.random.Generator) -> None:
        """Let the object ``chosen`` of ``layer`` turn, in place: its other side is what is in the box around an object
        of another picture."""
        image, labels = self._layer(config, random)[0]
        if ids := object_ids(labels):
            x, y, width, height = cv2.boundingRect((labels == ids[random.integers(len(ids))]).view(np.uint8))
            turn(layer, chosen, image[y : y + height, x : x + width], random)

    def _intrude(self, layer: Layer, chosen: list[int], config: ClipConfig, random: np.random.Generator) -> None:
        """Let a look-alike of one of the objects ``chosen``, or an object of another picture, come into ``layer``, in
        place, as part of the background: from a frame after the first on, mostly behind what is followed. Where it
        comes in it is apart from all objects, as what is next to one may be a part of it that comes into view."""
        alike, behind = random.random() < 0.7, random.random() < 0.8
        other = _turned(layer, random) if alike else self._layer(config, random)
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


def _entries(labels: Iterable[np.ndarray]) -> dict[int, int]:
    """The objects of a clip's label maps (h, w) uint8, and which frame shows each first; without those that are small
    there, and those that only the last frame shows."""
    areas = np.stack([np.bincount(frame.ravel(), minlength=VOID + 1) for frame in labels])
    first = (areas > 0).argmax(0)
    return {i: int(first[i]) for i in range(1, VOID) if areas[first[i], i] >= MIN_AREA and first[i] < len(areas) - 1}

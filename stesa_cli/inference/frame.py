"""One frame's way through the network, straight down in three stages. What is seen (crop, optical flow, encoder) and
what is shown (refined, uncropped) depend on no other frame's masks, so that both may overlap with what follows the
objects (decode, mask filters, the user's masks, advance)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stesa_cli.data.flow import grey, optical_flow
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.crop import Box, Crop, around, union, whole
from stesa_cli.inference.distractors import FilterContext, suppress_distractors, usual_area
from stesa_cli.masks import VOID, soft_aggregation
from stesa_cli.model.network import MULTIPLE, Network
from stesa_cli.model.state import Features, Prediction, State
from stesa_cli.runtime import autocast, upload
from stesa_cli.video.reading import Frame

ENLARGED = 2.0
"""How many times its size the network sees a frame at, at most."""
CHUNK = 16
"""Objects that the network decodes together; more of them go through it one chunk after another."""


@dataclass(frozen=True, eq=False)
class Group:
    """Objects that are decoded together."""

    ids: tuple[int, ...]
    state: State


@dataclass(frozen=True, eq=False)
class Track:
    """All that one frame leaves to the next."""

    groups: tuple[Group, ...] = ()
    crop: Crop | None = None
    box: Box | None = None  # around all objects, in pixels of the frame
    near: Box | None = None  # around those of the frame before, and those prompted in this one: for the next crop
    usual: dict[int, float] = field(default_factory=dict)  # areas (see FilterContext)
    last: np.ndarray | None = None  # the frame in grey, (H, W) uint8, on the host
    frames: int = 0

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(i for group in self.groups for i in group.ids)


@dataclass(frozen=True, eq=False)
class Given:
    """A frame, and the user's masks in it."""

    frame: Frame
    labels: np.ndarray | None = None  # (H, W) uint8: the whole masks of the ``prompted`` objects
    prompted: Sequence[int] = ()


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame as the network sees it, whatever the masks before it are."""

    given: Given
    crop: Crop
    box: Box | None  # around the prompted objects
    grey: np.ndarray  # (H, W) uint8
    pixels: Tensor  # (h, w, 3) uint8 RGB on the device: the crop
    colours: Tensor  # (3, h, w) float32 in [0, 1]: the crop at the size of the network's masks
    features: Features
    flow: Tensor | None  # to the frame before


@dataclass(frozen=True, eq=False)
class Tracked:
    """The objects' masks in a frame, at half the size that the network sees."""

    seen: Seen
    ids: tuple[int, ...]
    masks: Tensor  # (1, O, h, w) float32 in [0, 1]: of the objects known before the frame
    track: Track  # what the frame leaves to the next one, but for its boxes


@torch.inference_mode()
def see(
    network: Network,
    config: InferenceConfig,
    given: Given,
    last: np.ndarray | None,
    crop: Crop | None,
    near: Box | None,
) -> Seen:
    """First: a frame, after one in grey (H, W) uint8 that was seen through ``crop``. ``near`` is a box around the
    objects two frames before, and those prompted since."""
    image, labels = given.frame.image, given.labels
    frame, box = image.shape[:2], None
    if labels is not None:
        box = whole(frame).box((labels > 0) & (labels != VOID))
    now = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    crop = around(union([near, box]), frame, config.size / min(frame), crop) if config.crop else whole(frame)
    size, flow = _seen_size(frame, config), None
    if last is not None and network.config.flow:
        flow = upload(optical_flow(grey(crop.of(now), size), grey(crop.of(last), size)), network.device)[None]
    pixels = upload(crop.of(image), network.device)
    shown = pixels.permute(2, 0, 1)[None]
    if network.device.type != "cpu":
        shown = shown.float()  # 8 bits are reduced faster, but on CPUs only
    with autocast(network.device, config.precision):
        shown = (resized(shown, size).float() / 255).contiguous(memory_format=torch.channels_last)
        features = network.encode(shown)
    return Seen(given, crop, box, now, pixels, F.avg_pool2d(shown, 2)[0], features, flow)


@torch.inference_mode()
def follow(network: Network, config: InferenceConfig, track: Track, seen: Seen, max_mem_frames: int) -> Tracked:
    """Second: the masks of a frame after those of ``track``."""
    track = _recropped(track, seen.crop)
    ids = (*track.ids, *(i for i in seen.given.prompted if i not in track.ids))
    with autocast(network.device, config.precision):
        decoded = [network.decode(seen.features, group.state, seen.flow) for group in track.groups]
    logits, usual = _filtered(seen.features, track, decoded, seen.flow, config)
    together = soft_aggregation(logits).softmax(1)[:, 1:]
    masks = together if network.config.aggregate else logits.sigmoid()
    if seen.given.labels is not None:
        shown = seen.crop.of(seen.given.labels)
        masks = overruled(masks, shown, ids, seen.given.prompted)
        for i in seen.given.prompted:
            small = cv2.resize((shown == i).astype(np.float32), masks.shape[:1:-1], interpolation=cv2.INTER_AREA)
            usual[i] = usual_area(small > 0.5)
    with autocast(network.device, config.precision):
        groups = _advanced(network, seen, track, [state for _, state in decoded], masks, ids, max_mem_frames)
    following = Track(groups, seen.crop, usual=usual, last=seen.grey, frames=track.frames + 1)
    return Tracked(seen, ids, together, following)


def _seen_size(frame: Sequence[int], config: InferenceConfig) -> tuple[int, int]:
    """Height and width at which the network sees a frame (H, W): reduced or enlarged, multiples of 32."""
    scale = min(ENLARGED, config.size / min(frame))
    height, width = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in frame)
    return height, width


def _recropped(track: Track, crop: Crop) -> Track:
    """The track with all states as ``crop`` has them."""
    old = track.crop
    if old is None or crop == old:
        return track
    down = (crop.top + crop.height / 2 - old.top - old.height / 2) / old.height
    across = (crop.left + crop.width / 2 - old.left - old.width / 2) / old.width
    scale = crop.height / old.height, crop.width / old.width
    groups = tuple(replace(g, state=g.state.recropped(scale, (down, across))) for g in track.groups)
    usual = {i: area / scale[0] ** 2 for i, area in track.usual.items()}
    return replace(track, groups=groups, usual=usual)


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", antialias=True)


def _filtered(
    features: Features,
    track: Track,
    decoded: list[tuple[Prediction, State]],
    flow: Tensor | None,
    config: InferenceConfig,
) -> tuple[Tensor, dict[int, float]]:
    """The objects' logits (1, O, h, w) float32 after the mask filters, and their usual areas after this frame."""
    none = features.middle.new_zeros(1, 0, *(8 * side for side in features.middle.shape[2:]))
    logits = torch.cat([none, *(found.objects for found, _ in decoded)], 1).float()
    last = torch.cat([none, *(state.masks for _, state in decoded)], 1).float()
    context = FilterContext(track.ids, last, flow, dict(track.usual))
    for mask_filter in [suppress_distractors] if config.suppress_distractors and decoded else []:
        logits = mask_filter(logits, context)
    return logits, context.usual


def overruled(masks: Tensor, labels: np.ndarray, ids: Sequence[int], prompted: Sequence[int]) -> Tensor:
    """Masks (1, N, h, w) of the first N of the ``ids`` -> of all, with those that are prompted as ``labels`` (H, W) has
    them."""
    given = upload(np.stack([labels == i for i in ids]), masks.device).float()[None]
    fixed = upload(np.isin(ids, prompted), masks.device)[:, None, None]
    truth = F.interpolate(given, size=masks.shape[2:], mode="area") * fixed
    masks = F.pad(masks, (0, 0, 0, 0, 0, len(ids) - masks.shape[1]))
    # the others share what the prompted ones leave
    return torch.where(fixed, truth, masks * (1 - truth.sum(1, keepdim=True)))


def _advanced(
    network: Network,
    seen: Seen,
    track: Track,
    states: list[State],
    masks: Tensor,
    ids: tuple[int, ...],
    max_mem_frames: int,
) -> tuple[Group, ...]:
    """All objects, with the masks (1, O, h, w) of this frame propagated; those that are new in groups of CHUNK."""
    present, groups = masks.sum(1, keepdim=True), []

    def of(members: Sequence[int]) -> Tensor:
        first = ids.index(members[0])  # the objects of a group follow one another
        return masks[:, first : first + len(members)]

    for group, state in zip(track.groups, states, strict=True):
        corrected = not set(seen.given.prompted).isdisjoint(group.ids)
        groups.append(Group(group.ids, network.advance(seen.features, state, of(group.ids), present, corrected)))
    new = ids[len(track.ids) :]
    for members in (new[at : at + CHUNK] for at in range(0, len(new), CHUNK)):
        state = network.start(seen.features, of(members), present=present, max_mem_frames=max_mem_frames)[1]
        groups.append(Group(members, state))
    return tuple(groups)

"""One frame's way through the network, straight down: crop, optical flow beside the encoder, decode, mask filters, the
user's masks, advance, refine, uncropped."""

from collections.abc import Sequence
from concurrent.futures import Executor
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
from stesa_cli.inference.refine import guided_upsampling
from stesa_cli.masks import VOID, soft_aggregation
from stesa_cli.model.backend import Backend
from stesa_cli.model.network import MULTIPLE
from stesa_cli.model.state import Features, Prediction, State
from stesa_cli.runtime import autocast, download, upload

ENLARGED = 2.0
"""How many times its size the network sees a frame at, at most."""
CHUNK = 16
"""Objects that the network decodes together; more of them go through it one chunk after another."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The masks of one frame."""

    index: int  # of the frame
    time: float  # of the frame, in seconds
    image: np.ndarray  # (H, W, 3) uint8 RGB: the frame
    ids: tuple[int, ...]  # of the objects that have been prompted so far
    labels: np.ndarray  # (H, W) uint8: the id of the most probable object, 0 for the background
    confidence: np.ndarray  # (H, W) uint8: how probable that is, 0 to 255
    probabilities: Tensor  # (O + 1, H, W) float32 on the device, background first, then in the order of ids


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
    usual: dict[int, float] = field(default_factory=dict)  # areas (see FilterContext)
    last: np.ndarray | None = None  # the frame in grey, (H, W) uint8, on the host
    frames: int = 0

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(i for group in self.groups for i in group.ids)


@torch.inference_mode()
def next_frame(
    network: Backend,
    config: InferenceConfig,
    track: Track,
    image: np.ndarray,
    labels: np.ndarray | None,
    prompted: Sequence[int],
    max_mem_frames: int,
    worker: Executor,
) -> tuple[FrameResult, Track]:
    """The result of a frame (H, W, 3) uint8 RGB after those of ``track``, and what it leaves to the next one.

    ``labels`` (H, W) uint8 holds the whole masks of the ``prompted`` objects; ``worker`` computes the optical flow
    while the encoder runs. To the device go the frame and the flow, from it come label map and confidence in one piece;
    a prompt, and a filter that works on the host, have a way of their own."""
    device, frame = network.device, image.shape[:2]
    crop, track = _cropped(track, labels, frame, config)
    ids = (*track.ids, *(i for i in prompted if i not in track.ids))
    size, now = _seen_size(frame, config), cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    sought = None
    if track.last is not None and network.config.flow:
        sought = worker.submit(_flow, now, track.last, crop, size)
    pixels = upload(crop.of(image), device).permute(2, 0, 1).float() / 255
    with autocast(device, config.precision):
        features = network.encode(_resized(pixels[None], size).contiguous(memory_format=torch.channels_last))
        flow = upload(sought.result(), device)[None] if sought else None
        decoded = [network.decode(features, group.state, flow) for group in track.groups]
    logits, usual = _filtered(features, track, decoded, flow, config)
    together = soft_aggregation(logits).softmax(1)[:, 1:]
    masks = together if network.config.aggregate else logits.sigmoid()
    full = guided_upsampling(together[0], pixels) if config.refine else _resized(together, pixels.shape[1:])[0]
    full = torch.cat([(1 - full.sum(0, keepdim=True)).clamp(min=0), full])
    if labels is not None:
        shown = crop.of(labels)
        masks, full = _overruled(masks, full, shown, ids, prompted)
        for i in prompted:
            small = cv2.resize((shown == i).astype(np.float32), masks.shape[:1:-1], interpolation=cv2.INTER_AREA)
            usual[i] = usual_area(small > 0.5)
    full = full / full.sum(0).clamp(min=1e-6)
    with autocast(device, config.precision):
        states = [state for _, state in decoded]
        groups = _advanced(network, features, track, states, masks, ids, prompted, max_mem_frames)
    best = full.max(0)  # ten times as fast on a CPU as argmax over the first dimension
    found, sure = download(torch.stack([best.indices, (best.values * 255).round()]).byte())
    answer, confidence = np.zeros(frame, np.uint8), np.full(frame, 255, np.uint8)
    crop.of(answer)[:], crop.of(confidence)[:] = np.array([0, *ids], np.uint8)[found], sure
    result = FrameResult(track.frames, 0.0, image, ids, answer, confidence, crop.uncropped(frame, full))
    return result, Track(groups, crop, whole(frame).box(answer > 0), usual, now, track.frames + 1)


def _seen_size(frame: Sequence[int], config: InferenceConfig) -> tuple[int, int]:
    """Height and width at which the network sees a frame (H, W): reduced or enlarged, multiples of 32."""
    scale = min(ENLARGED, config.size / min(frame))
    height, width = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in frame)
    return height, width


def _cropped(
    track: Track, labels: np.ndarray | None, frame: tuple[int, ...], config: InferenceConfig
) -> tuple[Crop, Track]:
    """The crop for this frame, where the objects were in the last one or are prompted now, and the track with all
    states as it has them."""
    if not config.crop:
        return whole(frame), track
    old, boxes = track.crop, [track.box]
    if labels is not None:
        boxes.append(whole(frame).box((labels > 0) & (labels != VOID)))
    crop = around(union(boxes), frame, config.size / min(frame), old)
    if old is None or crop == old:
        return crop, track
    down = (crop.top + crop.height / 2 - old.top - old.height / 2) / old.height
    across = (crop.left + crop.width / 2 - old.left - old.width / 2) / old.width
    scale = crop.height / old.height, crop.width / old.width
    groups = tuple(replace(g, state=g.state.recropped(scale, (down, across))) for g in track.groups)
    usual = {i: area / scale[0] ** 2 for i, area in track.usual.items()}
    return crop, replace(track, groups=groups, usual=usual)


def _flow(now: np.ndarray, last: np.ndarray, crop: Crop, size: tuple[int, int]) -> np.ndarray:
    return optical_flow(grey(crop.of(now), size), grey(crop.of(last), size))


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
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


def _overruled(
    masks: Tensor, full: Tensor, labels: np.ndarray, ids: tuple[int, ...], prompted: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Masks (1, O, h, w) and probabilities (O + 1, H, W) with the masks of ``labels`` (H, W) in them, those of new
    objects last."""
    truth = upload(np.stack([labels == i for i in ids]), masks.device).float()
    small = F.interpolate(truth[None], size=masks.shape[2:], mode="area")[0]
    fixed = upload(np.isin(ids, prompted), masks.device)
    new = (0, 0, 0, 0, 0, len(ids) - masks.shape[1])
    masks = _fixed(F.pad(masks[0], new), small, fixed)[None]
    return masks, _fixed(F.pad(full, new), F.pad(truth, (0, 0, 0, 0, 1, 0)), F.pad(fixed, (1, 0)))


def _fixed(masks: Tensor, truth: Tensor, fixed: Tensor) -> Tensor:
    """Masks (N, H, W), where ``fixed`` (N,) those of the ``truth``; the others share what these leave."""
    return torch.where(fixed[:, None, None], truth, masks * (1 - truth.sum(0)))


def _advanced(
    network: Backend,
    features: Features,
    track: Track,
    states: list[State],
    masks: Tensor,
    ids: tuple[int, ...],
    prompted: Sequence[int],
    max_mem_frames: int,
) -> tuple[Group, ...]:
    """All objects, with the masks (1, O, h, w) of this frame propagated; those that are new in groups of CHUNK."""
    present, groups = masks.sum(1, keepdim=True), []

    def of(members: Sequence[int]) -> Tensor:
        first = ids.index(members[0])  # the objects of a group follow one another
        return masks[:, first : first + len(members)]

    for group, state in zip(track.groups, states, strict=True):
        corrected = not set(prompted).isdisjoint(group.ids)
        groups.append(Group(group.ids, network.advance(features, state, of(group.ids), present, corrected)))
    new = ids[len(track.ids) :]
    for members in (new[at : at + CHUNK] for at in range(0, len(new), CHUNK)):
        state = network.start(features, of(members), present=present, max_mem_frames=max_mem_frames)[1]
        groups.append(Group(members, state))
    return tuple(groups)

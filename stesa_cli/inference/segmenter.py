"""The Segmenter: the first frame and its mask, then frame by frame, in constant memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stesa_cli.checkpoint import load_network
from stesa_cli.errors import InputError, StesaError
from stesa_cli.files import atomic
from stesa_cli.inference.crop import Window, around, union, whole
from stesa_cli.inference.distractors import FADING, strays, usual_area
from stesa_cli.inference.refine import sharpened
from stesa_cli.masks import VOID, object_ids, one_hot, soft_aggregation
from stesa_cli.model.attention import Entry, Memory
from stesa_cli.model.decoder import reduce
from stesa_cli.model.flow import Flow
from stesa_cli.model.motion import from_background
from stesa_cli.model.network import MULTIPLE, OFF, Network, Prediction
from stesa_cli.model.state import Features, State
from stesa_cli.runtime import Precision, autocast, find_device, place

DEFAULT_SIZE = 480
ENLARGED = 2.0
"""How many times its size the network sees a frame at, at most."""
CHUNK = 16
"""Objects that the network decodes together; more of them go through it one chunk after another."""


@dataclass(frozen=True)
class View:
    """One way to look at a frame: its short side in pixels, and whether it is mirrored."""

    size: int
    flip: bool = False

    def of(self, image: Tensor, frame: tuple[int, ...]) -> Tensor:
        """An image (1, 3, h, w), a part of a ``frame`` (H, W), as large as the whole frame would be seen: reduced or
        enlarged, its sides multiples of 32."""
        scale = min(ENLARGED, self.size / min(frame))
        size = [max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in frame]
        if size != list(image.shape[2:]):
            image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
        return self.mirrored(image).contiguous(memory_format=torch.channels_last)

    def mirrored(self, maps: Tensor) -> Tensor:
        """Maps (…, h, w) of the frame as the view has them, and back."""
        return maps.flip(-1) if self.flip else maps

    def moved(self, state: State, old: Window, new: Window) -> State:
        """A state in which the frames were seen through ``old``, for those to be seen through ``new``."""
        y = (new.top + new.height / 2 - old.top - old.height / 2) / old.height
        x = (new.left + new.width / 2 - old.left - old.width / 2) / old.width
        return state.seen_from((new.height / old.height, new.width / old.width), (y, -x if self.flip else x))


@dataclass
class _Group:
    """Objects that are decoded together, with a state for each view."""

    ids: list[int]
    states: list[State]


class Segmenter:
    """Segments one video. ``start`` with a frame and its label map, then ``step`` for every following frame, which may
    bring masks of further objects, or better masks of known ones.

    ``size`` is the short side at which the network sees the frames, in pixels; it enlarges them ENLARGED
    times at most. Of frames that it would have to reduce, it sees the part around small objects (see ``window``).
    ``remembered`` is how many frames the memory holds, by default as the network's config says; when a GPU runs out of
    memory, it is halved until the video fits. The answers of several ``views``, which take the place of ``size``, are
    averaged; the first is not mirrored."""

    def __init__(
        self,
        network: Network,
        size: int = DEFAULT_SIZE,
        device: str = "auto",
        precision: Precision = "auto",
        remembered: int | None = None,
        views: Sequence[View] = (),
    ) -> None:
        self.device = find_device(device)
        self.network = network.eval()
        place(network, self.device)
        self.views, self.precision = list(views) or [View(size)], precision
        memory = network.config.memory
        self.remembered = remembered or (memory.size if memory else 0)
        self.ids: list[int] = []
        self._groups: list[_Group] = []
        self._window: Window | None = None
        self._usual: dict[int, float] = {}

    @classmethod
    def load(
        cls,
        weights: str | Path = "stesa",
        size: int = DEFAULT_SIZE,
        device: str = "auto",
        precision: Precision = "auto",
        remembered: int | None = None,
        views: Sequence[View] = (),
    ) -> "Segmenter":
        """From a checkpoint, or the name of shipped weights."""
        return cls(load_network(weights)[0], size, device, precision, remembered, views)

    def start(self, image: np.ndarray, labels: np.ndarray) -> Tensor:
        """Begin anew with a frame (H, W, 3) uint8 RGB and its label map (H, W) uint8, whose ids become the objects.
        Returns and raises as ``step`` does."""
        self.ids, self._groups, self._window, self._usual = [], [], None, {}
        return self.step(image, labels)

    def step(self, image: np.ndarray, labels: np.ndarray | None = None) -> Tensor:
        """The next frame (H, W, 3) uint8 RGB -> probabilities (O + 1, H, W) on the device, background first, then in
        the order of ``ids``.

        ``labels`` (H, W) uint8 gives the whole masks of some objects in this frame: they are taken as they are, new ids
        become new objects. Raises InputError when it has another size than the frame, or no object; StesaError when the
        GPU is too small."""
        given_ids = [] if labels is None else _checked_ids(image, labels)
        if not self._groups and not given_ids:
            raise RuntimeError("call start with the first frame and its mask before step")
        while True:
            try:
                return self._step(image, labels, given_ids)
            except torch.OutOfMemoryError as error:
                if self.remembered <= 1:
                    smaller = max(MULTIPLE, self.views[0].size // 2)
                    fix = f"use --size {smaller}, or --device cpu"
                    raise StesaError("the GPU has too little memory for this video", fix=fix) from error
                self._forget()

    def _forget(self) -> None:
        """Halve the memory."""
        self.remembered //= 2
        for group in self._groups:
            group.states = [
                replace(state, memory=state.memory.resized(self.remembered)) if state.memory else state
                for state in group.states
            ]
        torch.cuda.empty_cache()

    def save(self, path: Path, notes: object = None) -> None:
        """Write all that is needed to go on, and ``notes`` of plain values, for ``restore``. Raises OutputError."""
        buffer = BytesIO()
        torch.save((self.remembered, self.ids, self._groups, self._window, self._usual, notes), buffer)
        with atomic(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def restore(self, path: Path) -> Any:
        """Go on after the frame that was the last one when ``save`` wrote the file: what follows is the same, to the
        bit on a CPU. Returns the notes. Raises InputError when the file cannot be read."""
        try:
            with torch.serialization.safe_globals([_Group, State, Memory, Entry, Window]):
                saved = torch.load(path, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise InputError("cannot be read", path, "begin anew with --overwrite") from error
        self.remembered, self.ids, self._groups, self._window, self._usual, notes = saved
        return notes

    @torch.inference_mode()
    def _step(self, image: np.ndarray, labels: np.ndarray | None, given_ids: list[int]) -> Tensor:
        new = [i for i in given_ids if i not in self.ids]
        ids = self.ids + new
        frame = image.shape[:2]
        window = self._follow(labels, frame)
        image, labels = window.of(image), None if labels is None else window.of(labels)
        with autocast(self.device, self.precision):
            pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 255
            features = [self.network.encode(view.of(pixels, frame)) for view in self.views]
            last = self._groups[0].states if self._groups else []
            flows = [self.network.flow(f, state) for f, state in zip(features, last, strict=False)]
            decoded = [
                [self.network.decode(*each) for each in zip(features, group.states, flows, strict=True)]
                for group in self._groups
            ]
            small, full = self._probabilities(features, decoded, flows[0] if flows else None, image)
            if labels is not None:
                small, full = self._with_given(small, full, labels, ids, given_ids)
            for i, mask in zip(ids, small[0].float().cpu().numpy(), strict=True):
                new_area = usual_area(mask) if i in given_ids else max((mask > 0.5).sum(), FADING * self._usual[i])
                self._usual[i] = float(new_area)
            handed_on = [v.mirrored(_resized(small, f)) for v, f in zip(self.views, features, strict=True)]
            present = [masks.sum(1, keepdim=True) for masks in handed_on]
            groups = []
            for group, each in zip(self._groups, decoded, strict=True):
                chosen, corrected = [ids.index(i) for i in group.ids], not set(given_ids).isdisjoint(group.ids)
                states = [
                    self.network.advance(f, state, masks[:, chosen], every, corrected)
                    for f, (_, state), masks, every in zip(features, each, handed_on, present, strict=True)
                ]
                groups.append(_Group(group.ids, states))
            for members in (new[at : at + CHUNK] for at in range(0, len(new), CHUNK)):
                chosen = [ids.index(i) for i in members]
                states = [
                    self.network.start(f, masks[:, chosen], present=every, remembered=self.remembered)[1]
                    for f, masks, every in zip(features, handed_on, present, strict=True)
                ]
                groups.append(_Group(members, states))
        self.ids, self._groups = ids, groups
        return window.within(frame, full)

    def _follow(self, labels: np.ndarray | None, frame: tuple[int, ...]) -> Window:
        """Move the window, and the states with it, to where the objects were in the last frame, or are given now."""
        old, least = self._window, self.views[0].size / min(frame)
        boxes = [] if labels is None else [whole(frame).box((labels > 0) & (labels != VOID))]
        if old is not None:
            boxes += [old.box((group.states[0].masks > 0.5).any(1)[0].cpu().numpy()) for group in self._groups]
        self._window = around(union(boxes), frame, least, old)
        if old is not None and self._window != old:
            for group in self._groups:
                group.states = [v.moved(s, old, self._window) for v, s in zip(self.views, group.states, strict=True)]
            self._usual = {i: area * (old.height / self._window.height) ** 2 for i, area in self._usual.items()}
        return self._window

    def _with_given(
        self, small: Tensor, full: Tensor, labels: np.ndarray, ids: list[int], given_ids: list[int]
    ) -> tuple[Tensor, Tensor]:
        """What ``_probabilities`` returned, with the masks of ``labels`` (H, W) in it, those of new objects last."""
        given = one_hot(torch.from_numpy(labels), ids).to(self.device)
        reduced = F.interpolate(given[None], size=small.shape[2:], mode="area")[0]
        fixed = torch.tensor([i in given_ids for i in ids], device=self.device)
        new = (0, 0, 0, 0, 0, len(ids) - small.shape[1])
        small = _overruled(F.pad(small[0], new), reduced, fixed)[None]
        with_background = F.pad(given, (0, 0, 0, 0, 1, 0)), F.pad(fixed, (1, 0))
        full = _overruled(F.pad(full, new), *with_background)
        return small, full / full.sum(0).clamp(min=1e-6)

    def _probabilities(
        self,
        features: list[Features],
        decoded: list[list[tuple[Prediction, State]]],
        flow: Flow | None,
        image: np.ndarray,
    ) -> tuple[Tensor, Tensor]:
        """The objects' masks (1, O, h, w) at the scale of the first view, and (O + 1, H, W) with the background at that
        of ``image`` (H, W, 3), whose edges they take, from what each group has for each view, and the first's flow."""
        none = features[0].skips[-1].new_empty(1, 0, *_fine(features[0]))
        logits = torch.cat([none, *(each[0][0].objects for each in decoded)], 1).float()
        if len(self.views) > 1 and decoded:
            each_view = [torch.cat([found.objects for found, _ in parts], 1) for parts in zip(*decoded, strict=True)]
            found = [
                _resized(v.mirrored(each.sigmoid()), features[0]) for v, each in zip(self.views, each_view, strict=True)
            ]
            logits = torch.stack(found).mean(0).logit(1e-6)
        last = torch.cat([none, *(each[0][1].masks for each in decoded)], 1).float()
        self._without_strays(logits, last, flow)
        together = soft_aggregation(logits).softmax(1)[:, 1:]
        large = torch.from_numpy(sharpened(together[0].cpu().numpy(), image)).to(self.device)
        full = torch.cat([(1 - large.sum(0, keepdim=True)).clamp(min=0), large])
        return together if self.network.config.aggregate else logits.sigmoid(), full / full.sum(0).clamp(min=1e-6)

    def _without_strays(self, logits: Tensor, last: Tensor, flow: Flow | None) -> None:
        """Switch off, in place, the ``logits`` (1, O, h, w) of what is not of the objects (see ``strays``), whose
        ``last`` masks (1, O, h, w) are carried along the ``flow``."""
        moved = np.zeros((1, 1), np.float32)
        if flow is not None:
            moved = from_background(flow, reduce(last, 4, "area")).norm(dim=1)[0].cpu().numpy()
        masks = logits[0].sigmoid().cpu().numpy(), last[0].cpu().numpy()
        for i, each, mask, before in zip(self.ids, logits[0], *masks, strict=True):
            each[torch.from_numpy(strays(mask, before, self._usual[i], moved)).to(self.device)] = OFF


def _fine(features: Features) -> tuple[int, int]:
    """Height and width of the network's masks."""
    height, width = features.skips[-1].shape[2:]
    return 2 * height, 2 * width


def _resized(masks: Tensor, features: Features) -> Tensor:
    size = _fine(features)
    return masks if masks.shape[2:] == size else F.interpolate(masks, size=size, mode="bilinear", antialias=True)


def _checked_ids(image: np.ndarray, labels: np.ndarray) -> list[int]:
    if labels.shape != image.shape[:2]:
        raise InputError(
            f"the mask is {labels.shape[1]}×{labels.shape[0]}, the frame {image.shape[1]}×{image.shape[0]}",
            fix="give a mask of the frame's size, as it is seen upright",
        )
    if not (ids := object_ids(labels)):
        raise InputError("the mask holds no object", fix="mark each object with its own id from 1 to 254")
    return ids


def _overruled(masks: Tensor, given: Tensor, fixed: Tensor) -> Tensor:
    """Masks (N, H, W), where ``fixed`` (N,) those that are given; the others share what these leave."""
    return torch.where(fixed[:, None, None], given, masks * (1 - given.sum(0)))

"""The Segmenter: the first frame and its mask, then frame by frame, in constant memory."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stesa_cli.engine.checkpoint import load_network
from stesa_cli.engine.runtime import Precision, autocast, find_device, place
from stesa_cli.errors import InputError
from stesa_cli.masks import object_ids, one_hot, soft_aggregation
from stesa_cli.model.network import MULTIPLE, Network, State

DEFAULT_SIZE = 480


@dataclass
class _Group:
    """Objects that were given together and share a state."""

    ids: list[int]
    state: State


class Segmenter:
    """Segments one video. ``start`` with a frame and its label map, then ``step`` for every following frame, which may
    bring masks of further objects, or better masks of known ones.

    ``size`` is the short side at which the network sees the frames, in pixels; frames are never enlarged."""

    def __init__(
        self, network: Network, size: int = DEFAULT_SIZE, device: str = "auto", precision: Precision = "auto"
    ) -> None:
        self.device = find_device(device)
        self.network = network.eval()
        place(network, self.device)
        self.size, self.precision = size, precision
        self.ids: list[int] = []
        self._groups: list[_Group] = []

    @classmethod
    def load(
        cls,
        weights: str | Path = "stesa",
        size: int = DEFAULT_SIZE,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> "Segmenter":
        """From a checkpoint, or the name of shipped weights."""
        return cls(load_network(weights)[0], size, device, precision)

    def start(self, image: np.ndarray, labels: np.ndarray) -> Tensor:
        """Begin anew with a frame (H, W, 3) uint8 RGB and its label map (H, W) uint8, whose ids become the objects.
        Returns and raises as ``step`` does."""
        self.ids, self._groups = [], []
        return self.step(image, labels)

    @torch.inference_mode()
    def step(self, image: np.ndarray, labels: np.ndarray | None = None) -> Tensor:
        """The next frame (H, W, 3) uint8 RGB -> probabilities (O + 1, H, W) on the device, background first, then in
        the order of ``ids``.

        ``labels`` (H, W) uint8 gives the whole masks of some objects in this frame: they are taken as they are, new ids
        become new objects. Raises InputError when it has another size than the frame, or no object."""
        given_ids = [] if labels is None else _checked_ids(image, labels)
        if not self._groups and not given_ids:
            raise RuntimeError("call start with the first frame and its mask before step")
        with autocast(self.device, self.precision):
            features = self.network.encode(self._images(image))
            decoded = [self.network.decode(features, group.state) for group in self._groups]
            small, full = self._probabilities([prediction.objects for prediction, _ in decoded], image)
            new = [i for i in given_ids if i not in self.ids]
            self.ids += new
            if labels is not None:
                given = one_hot(torch.from_numpy(labels), self.ids).to(self.device)
                reduced = F.interpolate(given[None], size=small.shape[1:], mode="area")[0]
                fixed = torch.tensor([i in given_ids for i in self.ids], device=self.device)
                small = _overruled(F.pad(small, (0, 0, 0, 0, 0, len(new))), reduced, fixed)
                with_background = F.pad(given, (0, 0, 0, 0, 1, 0)), F.pad(fixed, (1, 0))
                full = _overruled(F.pad(full, (0, 0, 0, 0, 0, len(new))), *with_background)
                full = full / full.sum(0).clamp(min=1e-6)
            masks = dict(zip(self.ids, small, strict=True))
            present = small.sum(0)[None, None]
            for group, (_, hidden) in zip(self._groups, decoded, strict=True):
                state = replace(group.state, hidden=hidden)
                handed_on = torch.stack([masks[i] for i in group.ids])[None]
                group.state = self.network.advance(features, state, handed_on, present)
            if new:
                handed_on = torch.stack([masks[i] for i in new])[None]
                self._groups.append(_Group(new, self.network.start(features, handed_on, present=present)[1]))
        return full

    def _probabilities(self, objects: list[Tensor], image: np.ndarray) -> tuple[Tensor, Tensor]:
        """The objects' masks (O, H/2, W/2) at the network's scale, and (O + 1, H, W) with the background at the
        frame's, from the logits of each group."""
        height, width = self._network_size(image)
        if not objects:
            size = image.shape[:2]
            return torch.empty(0, height // 2, width // 2, device=self.device), torch.ones(1, *size, device=self.device)
        every = torch.cat(objects, 1)
        logits = soft_aggregation(every)
        masks = logits.softmax(1)[:, 1:] if self.network.config.aggregate else every.sigmoid()
        full = F.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False)
        return masks[0], full[0].softmax(0)

    def _network_size(self, image: np.ndarray) -> tuple[int, int]:
        height, width = image.shape[:2]
        scale = min(1.0, self.size / min(height, width))
        return _rounded(height * scale), _rounded(width * scale)

    def _images(self, image: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 255
        size = self._network_size(image)
        if size != image.shape[:2]:
            pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        return pixels.contiguous(memory_format=torch.channels_last)


def _rounded(side: float) -> int:
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)


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

"""The Segmenter: the first frame and its mask, then frame by frame, in constant memory."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stesa_cli.engine.checkpoint import load_network
from stesa_cli.engine.runtime import Precision, autocast, find_device, place
from stesa_cli.errors import InputError
from stesa_cli.masks import object_ids, one_hot
from stesa_cli.model.network import MULTIPLE, Network, Prediction, State

DEFAULT_SIZE = 480


class Segmenter:
    """Segments one video. ``start`` with a frame and its label map, then ``step`` for every following frame.

    ``size`` is the short side at which the network sees the frames, in pixels; frames are never enlarged."""

    def __init__(
        self, network: Network, size: int = DEFAULT_SIZE, device: str = "auto", precision: Precision = "auto"
    ) -> None:
        self.device = find_device(device)
        self.network = network.eval()
        place(network, self.device)
        self.size, self.precision = size, precision
        self.ids: list[int] = []
        self._state: State | None = None

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
        """Begin with a frame (H, W, 3) uint8 RGB and its label map (H, W) uint8, whose ids become the objects.

        Returns the probabilities (O + 1, H, W) of that frame, which are the given mask. Raises InputError when the
        mask has another size than the frame, or no object."""
        if labels.shape != image.shape[:2]:
            raise InputError(
                f"the mask is {labels.shape[1]}×{labels.shape[0]}, the frame {image.shape[1]}×{image.shape[0]}",
                fix="give a mask of the frame's size (after rotation)",
            )
        self.ids = object_ids(labels)
        if not self.ids:
            raise InputError("the mask holds no object", fix="mark each object with its own id from 1 to 254")
        given = one_hot(torch.from_numpy(labels), self.ids).to(self.device)[None]
        height, width = self._network_size(image)
        small = F.interpolate(given, size=(height, width), mode="area")
        with torch.inference_mode(), autocast(self.device, self.precision):
            _, self._state = self.network.start(self.network.encode(self._images(image)), small)
        return torch.cat([1 - given[0].sum(0, keepdim=True), given[0]])

    def step(self, image: np.ndarray) -> Tensor:
        """The next frame (H, W, 3) uint8 RGB -> probabilities (O + 1, H, W), background first, on the device."""
        if self._state is None:
            raise RuntimeError("call start with the first frame and its mask before step")
        with torch.inference_mode(), autocast(self.device, self.precision):
            prediction, self._state = self.network.step(self.network.encode(self._images(image)), self._state)
            return _at_source_size(prediction, image.shape[:2])

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


def _at_source_size(prediction: Prediction, size: tuple[int, ...]) -> Tensor:
    full = F.interpolate(prediction.logits.float(), size=size, mode="bilinear", align_corners=False)
    return full[0].softmax(0)

"""The heavy parts of a network as graphs: functions of tensors alone, for runtimes other than PyTorch."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from stesa_cli.model.attention import SpaceTimeNonLocalBlock
from stesa_cli.model.motion import CUES
from stesa_cli.model.network import Network
from stesa_cli.model.object_decoder import FINE
from stesa_cli.model.state import Hidden, State

STRIDES = (32, 16, 8, 4, 2)
HIDDEN = tuple(f"hidden{stride}" for stride in STRIDES[:-1])


class Graph(nn.Module):
    """A part of ``network``. ``DYNAMIC`` names each input and says of which of its dimensions the length may change
    from run to run, beside those of the frame; ``OUTPUTS`` names what comes out."""

    DYNAMIC: ClassVar[dict[str, tuple[int, ...]]]
    OUTPUTS: ClassVar[tuple[str, ...]]

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    @property
    def memory(self) -> SpaceTimeNonLocalBlock:
        return cast(SpaceTimeNonLocalBlock, self.network.memory)

    def middle(self, height: int, width: int) -> Tensor:
        return torch.zeros(1, self.memory.to_key.in_channels, height // 16, width // 16)

    def hidden(self, height: int, width: int, objects: int) -> list[Tensor]:
        """Hidden states of the default: zeros."""
        widths = zip(self.network.config.hidden, STRIDES, strict=False)
        return [torch.zeros(objects, channels, height // stride, width // stride) for channels, stride in widths]

    def example(self, height: int, width: int, objects: int = 2, frames: int = 2) -> tuple[Tensor, ...]:
        """Inputs of the right shapes for frames of ``height`` × ``width``, multiples of 32: zeros."""
        raise NotImplementedError


class Encode(Graph):
    """``Network.encode``: the image (1, 3, H, W) -> the skips, coarse to fine, the stride-16 map and its key."""

    DYNAMIC: ClassVar = {"image": ()}
    OUTPUTS = (*(f"skip{stride}" for stride in STRIDES), "middle", "key")

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        features = self.network.encode(*inputs)
        return (*features.skips, features.middle, *([] if features.key is None else [features.key]))

    def example(self, height: int, width: int, objects: int = 2, frames: int = 2) -> tuple[Tensor, ...]:
        return (torch.zeros(1, 3, height, width),)


class Move(Graph):
    """``Network.moved`` of the default: masks and hidden states along the flow, and the cues."""

    DYNAMIC: ClassVar = {"flow": (2, 3), "masks": (1,), "present": (), **dict.fromkeys(HIDDEN, (0,))}
    OUTPUTS = ("moved_masks", "moved_present", *(f"moved_{name}" for name in HIDDEN), "cues")

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        flow, masks, present, *hidden = inputs
        state = State(masks, _valid(masks), present, [[level] for level in hidden])
        state, cues = self.network.moved(state, flow)
        return (state.masks, state.present, *(level for [level] in cast(Hidden, state.hidden)), cast(Tensor, cues))

    def example(self, height: int, width: int, objects: int = 2, frames: int = 2) -> tuple[Tensor, ...]:
        masks = torch.zeros(1, objects, height // 2, width // 2)
        return torch.zeros(1, 3, height, width), masks, masks[:, :1], *self.hidden(height, width, objects)


class Read(Graph):
    """``Network.read``: M frames in memory of N positions each."""

    DYNAMIC: ClassVar = {"key": (), "keys": (1,), "values": (1, 2), "middle": ()}
    OUTPUTS = ("readout",)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *remembered, middle = inputs
        return (self.memory.readout(*remembered).permute(0, 2, 3, 1).unflatten(-1, middle.shape[2:]),)

    def example(self, height: int, width: int, objects: int = 2, frames: int = 2) -> tuple[Tensor, ...]:
        key = torch.zeros(1, height * width // 256, self.memory.key_channels)
        values = torch.zeros(1, frames * key.shape[1], objects, self.memory.channels)
        return key, key.repeat(1, frames, 1), values, self.middle(height, width)


class Decode(Graph):
    """``Network.decoded`` of the default, with what it has ``read``."""

    DYNAMIC: ClassVar = {
        **{f"skip{stride}": () for stride in STRIDES},
        "masks": (1,),
        "present": (),
        **dict.fromkeys(HIDDEN, (0,)),
        "readout": (1,),
        "cues": (1,),
    }
    OUTPUTS = ("objects", *(f"new_{name}" for name in HIDDEN))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *skips, masks, present = inputs[:7]
        *hidden, readout, cues = inputs[7:]
        state = State(masks, _valid(masks), present, [[level] for level in hidden])
        objects, _, new = self.network.decoder(skips, state, readout, cues)
        return (objects, *(level for [level] in new))

    def example(self, height: int, width: int, objects: int = 2, frames: int = 2) -> tuple[Tensor, ...]:
        widths = (*self.network.config.skips, FINE)
        skips = [torch.zeros(1, c, height // s, width // s) for c, s in zip(widths, STRIDES, strict=True)]
        hidden = self.hidden(height, width, objects)
        readout = torch.zeros(1, objects, self.memory.channels, height // 16, width // 16)
        cues = torch.zeros(1, objects, CUES, height // 8, width // 8)
        masks = torch.zeros(1, objects, height // 2, width // 2)
        return (*skips, masks, masks[:, :1], *hidden, readout, cues)


class Write(Graph):
    """``Network.written``."""

    DYNAMIC: ClassVar = {"middle": (), "masks": (1,), "others": (1,)}
    OUTPUTS = ("value",)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return (self.memory.value(*inputs),)

    def example(self, height: int, width: int, objects: int = 2, frames: int = 2) -> tuple[Tensor, ...]:
        middle = self.middle(height, width)
        masks = torch.zeros(1, objects, height // 4, width // 4)
        return middle, masks, masks.clone()  # an exporter takes one tensor for one input


def _valid(masks: Tensor) -> Tensor:
    return torch.ones_like(masks[:, :, 0, 0], dtype=torch.bool)

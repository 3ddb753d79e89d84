"""What runs a network frame by frame: PyTorch itself (``Network``), or another runtime with its graphs."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stesa_cli.masks import soft_aggregation
from stesa_cli.model.attention import Memory, MemoryFrame
from stesa_cli.model.decoder import reduce
from stesa_cli.model.motion import relative_motion
from stesa_cli.model.state import OFF, Features, Hidden, Prediction, State

if TYPE_CHECKING:
    from stesa_cli.model.network import ModelConfig


class Backend(ABC):
    """``start`` with a frame and the masks of its objects, then ``decode`` and ``advance`` frame by frame. Objects that
    enter later have a state of their own.

    A backend computes the three heavy parts: ``encode``, ``decoded`` and ``written``."""

    name: str
    config: "ModelConfig"

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where its tensors are."""

    @abstractmethod
    def encode(self, images: Tensor) -> Features:
        """Images (B, 3, H, W) float in [0, 1], RGB, H and W multiples of 32."""

    def moved(self, state: State, flow: Tensor) -> tuple[State, Tensor | None]:
        """The state along the ``flow`` (B, 3, h, w) to its frame, and what the decoder sees of the motion
        (``relative_motion``), (B, O, CUES, H/8, W/8), None for a network that does not ask for it."""
        state = state.warped(flow[:, :2])
        asked = self.config.motion or self.config.objects == "together"
        return state, relative_motion(flow, state.masks, state.present) if asked else None

    @abstractmethod
    def decoded(
        self, features: Features, state: State, cues: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...], Hidden]:
        """Logits (B, O, H/2, W/2) of each object in a frame, those of coarser levels, and the new hidden states.
        ``state`` and ``cues`` are as ``moved`` gives them."""

    @abstractmethod
    def written(self, features: Features, masks: Tensor, others: Tensor) -> Tensor:
        """What the memory keeps of the objects of a frame, (B, N, O, V), N = H/16 · W/16: with their masks, and to each
        those of all others, (B, O, H/4, W/4) in [0, 1]."""

    def start(
        self,
        features: Features,
        masks: Tensor,
        valid: Tensor | None = None,
        present: Tensor | None = None,
        max_mem_frames: int | None = None,
    ) -> tuple[Prediction, State]:
        """The first frame with its prompted masks (B, O, H/2, W/2) in [0, 1]: warms the hidden states up, fills the
        memory. ``present`` as in ``advance``; ``max_mem_frames`` as in ``Memory``, if not as the config says."""
        valid = masks.new_ones(masks.shape[:2], dtype=torch.bool) if valid is None else valid
        present = masks.sum(1, keepdim=True) if present is None else present
        config = self.config.memory
        memory = Memory(config.mem_every, max_mem_frames or config.max_mem_frames) if config else None
        state = self.advance(features, State(masks, valid, present, memory=memory), masks, present, prompted=True)
        return self.decode(features, state)

    def decode(self, features: Features, state: State, flow: Tensor | None = None) -> tuple[Prediction, State]:
        """What the frame shows of the objects of ``state``, and that warped to it, with new hidden states; ``flow``
        (B, 3, h, w) to the frame of ``state``, None for that frame itself or a network without it. ``auxiliary`` of
        the prediction begins with what motion alone tells, where the network has a say of it."""
        cues = None
        if flow is not None and self.config.flow:
            state, cues = self.moved(state, flow)
        objects, levels, hidden = self.decoded(features, state, cues)
        objects = objects.float().masked_fill(~state.valid[..., None, None], OFF)
        return Prediction(soft_aggregation(objects), objects, levels), replace(state, hidden=hidden)

    def advance(
        self, features: Features, state: State, masks: Tensor, present: Tensor, prompted: bool = False
    ) -> State:
        """Propagate ``masks`` (B, O, H/2, W/2) of this frame, predicted or ``prompted``, to the next, and write them to
        the memory. ``present`` (B, 1, H/2, W/2) is the sum of the masks of all objects, those of other states too."""
        state = replace(state, masks=masks, present=present)
        if state.memory is not None and features.key is not None:
            fine, others = (reduce(m, 2, "area") for m in (masks, state.others))
            value = self.written(features, fine, others)
            memory = state.memory.write(MemoryFrame(state.frames, features.key, value, prompted))
            state = replace(state, memory=memory)
        return replace(state, frames=state.frames + 1)

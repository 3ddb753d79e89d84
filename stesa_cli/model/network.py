"""The whole network, top to bottom: encoder, non-local blocks, skips, recurrent decoder, one step a frame."""

from dataclasses import replace
from functools import partial
from typing import Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from stesa_cli.config import Config
from stesa_cli.masks import soft_aggregation
from stesa_cli.model.attention import Memory, MemoryFrame, NonLocalBlock, Pairwise, SpaceTimeNonLocalBlock
from stesa_cli.model.decoder import Decoder, Reduction, reduce
from stesa_cli.model.encoder import Encoder
from stesa_cli.model.motion import MotionPyramid, relative_motion
from stesa_cli.model.object_decoder import FINE, ObjectDecoder
from stesa_cli.model.recurrence import ConvGRU, ConvLSTM
from stesa_cli.model.state import OFF, Features, Hidden, Prediction, State
from stesa_cli.model.unroll import unroll

MULTIPLE = 32
"""Heights and widths of the network's input are multiples of this, the coarsest stride."""


class MemoryConfig(Config):
    """The space-time non-local block: channels, and which frames are remembered (see ``attention.Memory``)."""

    keys: int = Field(64, ge=1)
    values: int = Field(64, ge=1)
    mem_every: int = Field(5, ge=1)
    max_mem_frames: int = Field(6, ge=1)
    temperature_scale: float = Field(1.0, gt=0)
    """Outside training the memory holds many more positions than a clip did: the temperature is multiplied by this."""


class ModelConfig(Config):
    """Every variant of the paper's tables and of the default model; the defaults are STESA-GRU as the paper has it."""

    encoder: str = "resnet101"
    fold_batch_norm: bool = False
    """The encoder's batch norms are frozen and folded into its convolutions."""
    skips: tuple[int, int, int, int] = (128, 128, 64, 32)
    hidden: tuple[int, int, int, int] = (128, 64, 32, 16)
    recurrence: Literal["gru", "lstm"] = "gru"
    reset_gates: Literal[1, 2] = 1
    states: Literal["concat", "sum"] = "concat"
    candidate: Literal["sigmoid", "linear"] = "sigmoid"
    carry: Literal["spatial", "temporal"] = "spatial"
    nlb: Literal["none", "res3", "res4", "res5"] = "res3"
    pairwise: Pairwise = "gaussian"
    auxiliary: bool = True
    mask_reduction: Reduction = "max"
    aggregate: bool = False
    """Objects compete by soft aggregation inside the network, not only where the final label is chosen."""
    memory: MemoryConfig | None = None
    objects: Literal["sequence", "together"] = "sequence"
    """One object after another, each seeing the state of the one before, as the paper has it; or all ``together`` in
    the default's decoder (``ObjectDecoder``), which the settings of the recurrence, of the mask reduction and of the
    auxiliary loss do not concern."""
    flow: bool = False
    """Masks and hidden states of the last frame are warped along the optical flow before they are used."""
    motion: int = Field(0, ge=0)
    """Channels, at stride 8, of what the decoder sees of the motion of each object against the background's, or 0."""

    @model_validator(mode="after")
    def _fits(self) -> "ModelConfig":
        if self.auxiliary and self.nlb == "none":
            raise ValueError("auxiliary = true needs a non-local block: set nlb, or auxiliary = false")
        # a checkpoint's config names them all: only another value than the default is a mistake
        of_gru = self.model_dump(include={"reset_gates", "states", "candidate", "carry"}, exclude_defaults=True)
        if self.recurrence == "lstm" and of_gru:
            raise ValueError("reset_gates, states, candidate and carry are settings of recurrence = 'gru'")
        if self.motion and not self.flow:
            raise ValueError("motion needs flow = true")
        if self.objects == "together" and (self.memory is None or self.auxiliary or self.motion):
            raise ValueError("objects = 'together' needs a memory, auxiliary = false and motion = 0")
        if self.motion and self.auxiliary:
            raise ValueError("motion has an auxiliary loss of its own: set auxiliary = false")
        return self


class Network(nn.Module):
    """STESA. Frame by frame: ``start`` with one and the masks of its objects, then ``decode`` and ``advance``; objects
    that enter later have a state of their own. For training, ``forward`` with whole clips."""

    def __init__(self, config: ModelConfig, imagenet: bool = False) -> None:
        super().__init__()
        self.config = config
        together = config.objects == "together"
        self.encoder = Encoder(config.encoder, imagenet, config.fold_batch_norm, together)
        coarse_to_fine = self.encoder.channels[::-1]
        self.nlb_level = {"none": None, "res5": 0, "res4": 1, "res3": 2}[config.nlb]
        if self.nlb_level is not None:
            self.nlb = NonLocalBlock(coarse_to_fine[self.nlb_level], config.pairwise)
        widths = (*config.skips, FINE) if together else config.skips
        self.skips = nn.ModuleList(_skip(c, s, nonlinear=together) for c, s in zip(coarse_to_fine, widths, strict=True))
        self.memory = self.motion = None
        if config.memory is not None:
            memory = config.memory
            self.memory = SpaceTimeNonLocalBlock(
                coarse_to_fine[1], memory.keys, memory.values, memory.temperature_scale
            )
        read = self.memory.channels if self.memory else 0
        if together:
            self.decoder: nn.Module = ObjectDecoder(config.skips, config.hidden, read)
            return
        make_cell: Any = ConvLSTM
        if config.recurrence == "gru":
            make_cell = partial(ConvGRU, **config.model_dump(include={"reset_gates", "states", "candidate", "carry"}))
        self.decoder = Decoder(
            config.skips,
            config.hidden,
            make_cell,
            config.mask_reduction,
            memory_channels=read,
            auxiliary=self.nlb_level if config.auxiliary else None,
        )
        if config.motion:
            self.motion = MotionPyramid(config.motion, config.skips)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def encode(self, images: Tensor) -> Features:
        """Images (B, 3, H, W) float in [0, 1], RGB, H and W multiples of 32."""
        levels = self.encoder(images)[::-1]
        middle = levels[1]
        if self.nlb_level is not None:
            levels[self.nlb_level] = self.nlb(levels[self.nlb_level])
        skips = [skip(level) for skip, level in zip(self.skips, levels, strict=True)]
        key = self.memory.key(middle) if self.memory else None
        return Features(skips, middle, key)

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

    def forward(
        self,
        frames: Tensor,
        masks: Tensor,
        prompted: Tensor,
        teacher_forcing: Tensor,
        flow: Tensor | None = None,
        flaws: Tensor | None = None,
    ) -> list[Prediction]:
        """Whole clips for training: ``frames`` (B, T, 3, H, W) float in [0, 1], true ``masks`` (B, T, O, H, W),
        ``prompted`` (B, O) int64: the frame in which an object enters with its mask, before which it has no pixels, T
        for padding; ``teacher_forcing`` (B, T) bool: where the true masks are propagated; ``flow`` (B, T - 1, 3, h, w):
        of each frame after the first to the one before (``data.flow``), None for a network without it; ``flaws``
        (B, T, O + 1, h, w) in [0, 1]: where the background or an object takes the place of what is prompted in
        frame 0, or propagated. Every clip has an object in frame 0.
        Returns the predictions of the frames after the first, each of the objects that entered before it."""
        return unroll(self, frames, masks, prompted, teacher_forcing, flow, flaws)

    def moved(self, state: State, flow: Tensor) -> tuple[State, Tensor | None]:
        """The state along the ``flow`` (B, 3, h, w) to its frame, and what the decoder sees of the motion
        (``relative_motion``), (B, O, CUES, H/8, W/8), None for a network that does not ask for it."""
        state = state.warped(flow[:, :2])
        asked = self.config.motion or self.config.objects == "together"
        return state, relative_motion(flow, state.masks, state.present) if asked else None

    def decoded(
        self, features: Features, state: State, cues: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...], Hidden]:
        """Logits (B, O, H/2, W/2) of each object in a frame, those of coarser levels, and the new hidden states.
        ``state`` and ``cues`` are as ``moved`` gives them."""
        readout, motion = self.read(features, state), cues
        told: tuple[Tensor, ...] = ()
        if self.motion is not None and cues is not None:
            motion, *told = self.motion(cues)
        objects, levels, hidden = self.decoder(features.skips, state, readout, motion)
        return objects, (*told, *levels), hidden

    def read(self, features: Features, state: State) -> Tensor | None:
        """What the memory answers, (B, O, V, H/16, W/16), None without one."""
        if self.memory is None or state.memory is None or features.key is None:
            return None
        readout = self.memory.readout(features.key, *state.memory.gathered()).permute(0, 2, 3, 1)
        return readout.unflatten(-1, features.middle.shape[2:])

    def written(self, features: Features, masks: Tensor, others: Tensor) -> Tensor:
        """What the memory keeps of the objects of a frame, (B, N, O, V), N = H/16 · W/16: with their masks, and to each
        those of all others, (B, O, H/4, W/4) in [0, 1]."""
        return cast(SpaceTimeNonLocalBlock, self.memory).value(features.middle, masks, others)


def _skip(inputs: int, outputs: int, nonlinear: bool) -> nn.Module:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if nonlinear else []))

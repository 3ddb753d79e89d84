"""The whole network, top to bottom: encoder, non-local blocks, skips, recurrent decoder, one step a frame."""

from functools import partial
from typing import Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from stesa_cli.config import Config
from stesa_cli.model.attention import NonLocalBlock, Pairwise, SpaceTimeNonLocalBlock
from stesa_cli.model.backend import Backend
from stesa_cli.model.decoder import Decoder, Reduction
from stesa_cli.model.encoder import Encoder
from stesa_cli.model.motion import MotionPyramid
from stesa_cli.model.object_decoder import FINE, ObjectDecoder
from stesa_cli.model.recurrence import ConvGRU, ConvLSTM
from stesa_cli.model.state import Features, Hidden, Prediction, State
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


class Network(nn.Module, Backend):
    """STESA in PyTorch: frame by frame (see ``Backend``), or, for training, ``forward`` with whole clips."""

    name = "torch"

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
        levels = self.encoder(images)[::-1]
        middle = levels[1]
        if self.nlb_level is not None:
            levels[self.nlb_level] = self.nlb(levels[self.nlb_level])
        skips = [skip(level) for skip, level in zip(self.skips, levels, strict=True)]
        key = self.memory.key(middle) if self.memory else None
        return Features(skips, middle, key)

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
        (B, T, O + 1, h, w) in [0, 1]: where the background or an object takes the place of what is propagated.
        Every clip has an object in frame 0.
        Returns the predictions of the frames after the first, each of the objects that entered before it."""
        return unroll(self, frames, masks, prompted, teacher_forcing, flow, flaws)

    def decoded(
        self, features: Features, state: State, cues: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...], Hidden]:
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
        return cast(SpaceTimeNonLocalBlock, self.memory).value(features.middle, masks, others)


def _skip(inputs: int, outputs: int, nonlinear: bool) -> nn.Module:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if nonlinear else []))

"""What is trained on what, and how: the config file of a training run."""

import math
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stesa_cli.config import Config
from stesa_cli.data import davis, stills, youtube_vos
from stesa_cli.data.sampling import ClipConfig
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import ConfigError
from stesa_cli.model.network import ModelConfig

SOURCES: dict[str, Callable[[Path], list[VideoSequence]]] = {
    "davis2016": lambda root: davis.sequences(root, 2016, "train"),
    "davis2017": lambda root: davis.sequences(root, 2017, "train"),
    "youtube-vos": youtube_vos.sequences,
    "stills": stills.sequences,
}
"""Any other name is that of a folder below the data root (see ``data.folder``)."""
Rate = Annotated[float, Field(ge=0)]
Weight = Annotated[float, Field(gt=0)]


class StageConfig(Config):
    """One stretch of training with its own data mixture, clips and learning rates."""

    steps: int = Field(ge=1)
    sources: dict[str, Weight] = Field(min_length=1)
    clip: ClipConfig = ClipConfig()
    batch: int = Field(2, ge=1)
    """Clips per step, over all processes."""
    decoder_rate: Rate = 4e-4
    encoder_rate: Rate = 2e-5
    """If it is 0 in all stages of a run, the encoder is frozen, and a step takes a fifth less time."""
    motion_rate: Rate = 2e-3
    """Of the motion pyramid, which begins at zero: with the decoder's rate it stays unused."""
    warmup: int = Field(100, ge=0)
    floor: Rate = 0.02
    """The cosine schedule ends at this share of the rates."""
    bootstrap: float = Field(1.0, gt=0, le=1)
    """Share of the pixels that count in the cross-entropy: the hardest."""
    bootstrap_after: int = 0
    blend: float = Field(0, ge=0, lt=1)
    """Share of the weights the stage began with that is mixed back in at its end (WiSE-FT, Wortsman et al. 2022)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        return self

    def rate(self, step: int) -> float:
        """Share of the learning rates at a step of this stage: linear warm-up, then cosine to the floor."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


class TrainConfig(Config):
    """Settings of all stages."""

    seed: int = 0
    imagenet: bool = True
    initial: str | None = None
    """Weights to begin with: the name of shipped ones, or a file. Without it, ImageNet's and random ones."""
    frozen: tuple[str, ...] = ()
    """How the names of parameters begin that are not trained; ``*`` stands for anything."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    weight_decay: float = 1e-4
    ema: float = Field(0.998, ge=0, lt=1)
    cross_entropy: float = 1.0
    soft_iou: float = 1.0
    auxiliary: float = 1.0
    held_out: tuple[str, ...] = ()
    """Sequences to validate on and not to train on, by name or pattern such as ``0*7``: of the sources, else of
    DAVIS-2016. Stills are only kept from training."""
    validation_clips: int = Field(8, ge=1)
    """Clips of these whose loss is measured; the same at every validation of a stage."""
    validate_every: int = Field(500, ge=1)
    checkpoint_every: int = Field(100, ge=1)


class RunConfig(Config):
    """A whole training config file."""

    model: ModelConfig
    train: TrainConfig = TrainConfig()
    stages: tuple[StageConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (self.train.cross_entropy or self.train.soft_iou):
            raise ValueError("nothing to learn from: set cross_entropy or soft_iou")
        return self

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def at(self, step: int) -> tuple[StageConfig, int, int]:
        """The stage of a step, the step within it, and the number of clips that earlier stages took."""
        clips = 0
        for stage in self.stages:
            if step < stage.steps:
                return stage, step, clips
            step -= stage.steps
            clips += stage.steps * stage.batch
        raise IndexError(step)

    def adapted(
        self,
        dataset: str | None = None,
        year: int = 2016,
        steps: int | None = None,
        seed: int | None = None,
        stages: str | None = None,
        initial: str | None = None,
        held_out: str | None = None,
    ) -> "RunConfig":
        """This config with the given changes: only some ``stages``, such as ``2,3``; another ``dataset``, such as
        ``stills,davis=3``; another number of ``steps`` in all, with warm-ups in proportion; another ``seed``; other
        ``initial`` weights; other ``held_out`` sequences, such as ``bear,elephant`` or ``none``. Raises ConfigError."""
        chosen = self.stages if stages is None else _stages(stages, self.stages)
        ends = [0, *accumulate(stage.steps for stage in chosen)]
        scale = 1.0 if steps is None else steps / ends[-1]
        ends = [round(end * scale) for end in ends]
        changes = {} if dataset is None else {"sources": _sources(dataset, year)}
        adapted = []
        for stage, (begin, end) in zip(chosen, pairwise(ends), strict=True):
            length = {"steps": max(1, end - begin), "warmup": round(stage.warmup * scale)}
            length["bootstrap_after"] = round(stage.bootstrap_after * scale)
            adapted.append(StageConfig.parse(stage.model_dump() | changes | length, "--dataset"))
        names = tuple(name.strip() for name in (held_out or "").split(",") if name.strip() not in ("", "none"))
        given = {"seed": seed, "initial": initial, "held_out": None if held_out is None else names}
        train = self.train.model_copy(update={name: value for name, value in given.items() if value is not None})
        return RunConfig(model=self.model, train=train, stages=tuple(adapted))


def _stages(text: str, stages: tuple[StageConfig, ...]) -> tuple[StageConfig, ...]:
    try:
        numbers = [int(part) for part in text.split(",")]
        return tuple(stages[range(1, len(stages) + 1).index(number)] for number in numbers)
    except ValueError as error:
        fix = f"write numbers from 1 to {len(stages)}, such as 1,2"
        raise ConfigError(f"{text!r} names no stages", "--stages", fix) from error


def _sources(text: str, year: int) -> dict[str, float]:
    sources = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        try:
            sources[f"davis{year}" if name == "davis" else name] = float(weight or 1)
        except ValueError as error:
            raise ConfigError(f"{weight!r} is not a weight", "--dataset", "write it as stills,davis=3") from error
    return sources

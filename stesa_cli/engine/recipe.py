"""What is trained on what, and how: the config file of a training run, and the data it names."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from stesa_cli.config import Config
from stesa_cli.data import davis, stills, youtube_vos
from stesa_cli.data.sampling import ClipConfig
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.errors import ConfigError, StesaError
from stesa_cli.model.network import ModelConfig

SOURCES: dict[str, Callable[[Path], list[VideoSequence]]] = {
    "davis2016": lambda root: davis.sequences(root, 2016, "train"),
    "davis2017": lambda root: davis.sequences(root, 2017, "train"),
    "youtube-vos": youtube_vos.sequences,
    "stills": stills.sequences,
}


class StageConfig(Config):
    """One stretch of training with its own data mixture, clips and learning rates."""

    steps: int = Field(ge=1)
    sources: dict[str, float]
    clip: ClipConfig = ClipConfig()
    batch: int = Field(2, ge=1)
    """Clips a step, over all processes."""
    decoder_rate: float = 4e-4
    encoder_rate: float = 2e-5
    warmup: int = 100
    floor: float = 0.02
    """The cosine schedule ends at this share of the rates."""
    bootstrap: float = Field(1.0, gt=0, le=1)
    """Share of the pixels, the hardest, that count in the cross-entropy."""
    bootstrap_after: int = 0

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := self.sources.keys() - SOURCES.keys():
            raise ValueError(f"unknown sources {', '.join(sorted(unknown))}: choose among {', '.join(SOURCES)}")
        return self

    def rate(self, step: int) -> float:
        """Share of the learning rates at a step of this stage: linear warm-up, then cosine to the floor."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


class TrainConfig(Config):
    """What holds for all stages."""

    seed: int = 0
    imagenet: bool = True
    frozen: tuple[str, ...] = ()
    """Prefixes of parameter names that are not trained."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    ema: float = Field(0.998, ge=0, lt=1)
    cross_entropy: float = 1.0
    soft_iou: float = 1.0
    auxiliary: float = 1.0
    held_out: tuple[str, ...] = ()
    """Train sequences of DAVIS-2016 that are validated on and not trained on."""
    validate_every: int = 500
    validation_size: int = 256
    checkpoint_every: int = 100


class RunConfig(Config):
    """A whole training config file."""

    model: ModelConfig
    train: TrainConfig = TrainConfig()
    stages: tuple[StageConfig, ...] = Field(min_length=1)

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
        self, dataset: str | None = None, year: int = 2016, steps: int | None = None, seed: int | None = None
    ) -> "RunConfig":
        """With other data, such as ``stills,davis=3``, another length in all, another seed. Raises ConfigError."""
        changes: dict[str, object] = {}
        if dataset is not None:
            changes["sources"] = _sources(dataset, year)
        stages = []
        for stage in self.stages:
            length = stage.steps if steps is None else max(1, round(stage.steps * steps / self.steps))
            stages.append(StageConfig.parse(stage.model_dump() | changes | {"steps": length}, "--dataset"))
        train = self.train if seed is None else self.train.model_copy(update={"seed": seed})
        return RunConfig(model=self.model, train=train, stages=tuple(stages))


def _sources(text: str, year: int) -> dict[str, float]:
    sources = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        try:
            sources[f"davis{year}" if name == "davis" else name] = float(weight or 1)
        except ValueError as error:
            raise ConfigError(f"{weight!r} is not a weight", "--dataset", "write it as stills,davis=3") from error
    return sources


def open_data(config: RunConfig, data_root: Path) -> tuple[dict[str, list[VideoSequence]], list[VideoSequence]]:
    """All sources of all stages, without the held-out sequences, and these. Raises every problem in one line."""
    problems: list[str] = []
    sources: dict[str, list[VideoSequence]] = {}
    held_out: list[VideoSequence] = []
    for name in dict.fromkeys(name for stage in config.stages for name in stage.sources):
        try:
            sources[name] = SOURCES[name](data_root)
        except StesaError as error:
            problems.append(str(error))
    try:
        if config.train.held_out:
            every = {s.name: s for s in SOURCES["davis2016"](data_root)}
            if unknown := set(config.train.held_out) - every.keys():
                problems.append(f"held-out sequences {', '.join(sorted(unknown))} are not in DAVIS-2016 train")
            held_out = [every[name] for name in config.train.held_out if name in every]
    except StesaError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(dict.fromkeys(problems)))
    kept = {name: [s for s in found if s.name not in config.train.held_out] for name, found in sources.items()}
    return kept, held_out

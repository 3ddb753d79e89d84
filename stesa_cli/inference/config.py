"""How a video is segmented: one typed set of options, and its presets."""

from typing import Any, Literal

from pydantic import Field

from stesa_cli.config import Config
from stesa_cli.runtime import Precision

Preset = Literal["fast", "default"]


class InferenceConfig(Config):
    """What the Segmenter does, and with what effort. Each switch is a step around the network, in a file of its own."""

    size: int = Field(480, ge=32)
    """Short side at which the network sees a frame, in pixels."""
    max_mem_frames: int | None = Field(None, ge=1)
    """How many frames the memory holds, at most; not set, as the network's config says."""
    precision: Precision = "auto"
    crop: bool = True
    """Where frames have to be reduced to ``size``, see the part around small objects."""
    suppress_distractors: bool = True
    """Take away what looks like an object and appears apart from it, while all of it is there."""
    refine: bool = True
    """Guided upsampling: masks take the edges of the picture."""
    finetune: bool = True
    """First fit the decoder to the first prompted frame."""

    @classmethod
    def preset(cls, name: Preset = "default", **changes: Any) -> "InferenceConfig":
        """A preset with some options changed; a change to None leaves the preset's value. Raises ConfigError."""
        given = {option: value for option, value in changes.items() if value is not None}
        return cls.parse(_PRESETS[name].model_dump() | given, "options")


_PRESETS: dict[Preset, InferenceConfig] = {
    "default": InferenceConfig(),
    "fast": InferenceConfig(size=256, max_mem_frames=3, finetune=False),
}

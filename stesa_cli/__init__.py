"""STESA: semi-supervised video object segmentation. A video and the mask of its first frame in, every mask out."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Segmenter", "__version__"]


def __getattr__(name: str) -> Any:  # torch is loaded by those who ask for it only
    if name == "Segmenter":
        from stesa_cli.inference.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

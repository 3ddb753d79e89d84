"""STESA: semi-supervised video object segmentation. A video and the mask of its first frame in, every mask out.

The public API, loaded when it is asked for:

``segment``           one call: a video and its masks in, results in a folder
``Segmenter``         frame by frame, in constant memory; its options are an ``InferenceConfig``
``open_video``        a video file or a folder of frames, as a stream of RGB frames
``read_mask``, ``write_mask``   label maps as files
``overlay``           masks drawn over their frame
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stesa_cli.inference.config import InferenceConfig
    from stesa_cli.inference.segmenter import Segmenter
    from stesa_cli.masks import read_mask, write_mask
    from stesa_cli.segmentation.job import segment
    from stesa_cli.video.overlay import overlay
    from stesa_cli.video.reading import open_video

__version__ = "0.2.0"
__all__ = [
    "InferenceConfig",
    "Segmenter",
    "__version__",
    "open_video",
    "overlay",
    "read_mask",
    "segment",
    "write_mask",
]
_HOMES = {
    "InferenceConfig": "inference.config",
    "Segmenter": "inference.segmenter",
    "open_video": "video.reading",
    "overlay": "video.overlay",
    "read_mask": "masks",
    "segment": "segmentation.job",
    "write_mask": "masks",
}


def __getattr__(name: str) -> Any:  # torch is loaded by those who ask for it only
    if name in _HOMES:
        return getattr(import_module(f"stesa_cli.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""STESA: semi-supervised video object segmentation. A video and the mask of its first frame in, every mask out."""

__version__ = "0.1.0"

"""Optical flow on the host: where each pixel of a frame was in the frame before (DIS, Kroeger et al. 2016)."""

from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor

LINES = 360
"""The shorter side at which flow is computed, in pixels, at most."""


def grey(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A frame (H, W, 3) uint8 RGB, or (H, W) uint8 as it is -> (h, w) uint8, what ``optical_flow`` compares: as large
    as ``size`` (height, width), but for no more than LINES."""
    image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    scale = min(1.0, LINES / min(size))
    height, width = (round(side * scale) for side in size)
    smaller = height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def optical_flow(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Two frames (h, w) uint8 -> (3, h // 2, w // 2) float32: x and y, in widths and heights, from each pixel to where
    it was in the frame before, and how far its brightness is from what is there, in [0, 1]. DIS finds it for every
    fourth pixel."""
    seeker = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    height, width = now.shape
    x, y = cv2.split(seeker.calc(now, before, None))  # type: ignore[call-overload]
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    there = cv2.remap(before, x + columns, y + rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    maps = x / width, y / height, cv2.absdiff(now, there) / np.float32(255)
    return np.stack([cv2.resize(each, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for each in maps])


def clip_flow(frames: Tensor) -> Tensor:
    """A clip (T, 3, H, W) uint8 RGB -> the flow of each frame after the first, (T - 1, 3, h, w) float32."""
    images = [grey(frame.permute(1, 2, 0).numpy(), tuple(frame.shape[1:])) for frame in frames]
    return torch.from_numpy(np.stack([optical_flow(now, last) for last, now in pairwise(images)]))

"""Optical flow between two frames: where each pixel was in the frame before."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LINES = 360
"""Height or width, whichever is less, at which the flow is sought, in pixels, at most."""


def grey(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) float in [0, 1], RGB -> what ``backward_flow`` compares, (B, h, w) uint8 on the CPU."""
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    luma = (images.detach().float() * weights).sum(1, keepdim=True)
    if (scale := LINES / min(luma.shape[2:])) < 1:
        size = [round(side * scale) for side in luma.shape[2:]]
        luma = F.interpolate(luma, size=size, mode="bilinear", antialias=True)
    return luma[:, 0].mul(255).round().clamp(0, 255).byte().cpu()


@dataclass(frozen=True)
class Flow:
    """From frames to those before them: ``shift`` (B, 2, h, w) float32, x and y in widths and heights, says where each
    pixel was; ``error`` (B, 1, h, w) in [0, 1] is how far its brightness is from what is there. On the CPU."""

    shift: Tensor
    error: Tensor


@torch.compiler.disable
def backward_flow(now: Tensor, before: Tensor) -> Flow:
    """Of frames (B, h, w) uint8 to those before them (DIS, Kroeger et al. 2016, as OpenCV has it)."""
    seeker = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    height, width = now.shape[1:]
    places = np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)
    shifts, errors = [], []
    for frame, other in zip(now.numpy(), before.numpy(), strict=True):
        shift = seeker.calc(frame, other, None)  # type: ignore[call-overload]
        x, y = cv2.split(places + shift)
        carried = cv2.remap(other, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        shifts.append(shift / np.array([width, height], np.float32))
        errors.append(cv2.absdiff(frame, carried))
    shift, error = torch.from_numpy(np.stack(shifts)), torch.from_numpy(np.stack(errors))
    return Flow(shift.permute(0, 3, 1, 2), error[:, None] / 255)

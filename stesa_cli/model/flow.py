"""Optical flow between two frames: where each pixel was in the frame before."""

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


@torch.compiler.disable
def backward_flow(now: Tensor, before: Tensor) -> Tensor:
    """From frames (B, h, w) uint8 to those before them: (B, 2, h, w) float32 on the CPU, x and y in widths and heights
    (DIS, Kroeger et al. 2016, as OpenCV has it)."""
    seeker = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    pairs = zip(now.numpy(), before.numpy(), strict=True)
    found = np.stack([seeker.calc(frame, other, None) for frame, other in pairs])  # type: ignore[call-overload]
    return torch.from_numpy(found / np.array(now.shape[:0:-1], np.float32)).permute(0, 3, 1, 2)

"""The losses of training. Truth is a label map with void 255, which no loss counts."""

import torch.nn.functional as F
from torch import Tensor

from stesa_cli.masks import VOID


def soft_iou_loss(probabilities: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """``1 − soft IoU``, the mean over the valid objects of each clip, then over the clips (paper, eq 10; RVOS).

    ``probabilities`` and ``truth`` (B, O, H, W) in [0, 1], ``valid`` (B, O) bool. One pixel is added to intersection
    and union: in the plain ratio an absent object has zero gradient and never learns to switch off."""
    overlap = (probabilities * truth).sum((2, 3))
    union = (probabilities + truth).sum((2, 3)) - overlap
    loss = 1 - (overlap + 1) / (union + 1)
    return ((loss * valid).sum(1) / valid.sum(1).clamp(min=1)).mean()


def bootstrapped_cross_entropy(logits: Tensor, labels: Tensor, fraction: float) -> Tensor:
    """Cross-entropy over the hardest ``fraction`` of each frame's pixels.

    ``logits`` (B, O + 1, H, W), ``labels`` (B, H, W) long, void ignored."""
    every = F.cross_entropy(logits, labels, ignore_index=VOID, reduction="none").flatten(1)
    if fraction < 1:
        every = every.topk(max(1, int(fraction * every.shape[1])), dim=1, sorted=False).values
    return every.mean()

"""The losses of training. Truth is a label map with void 255, which no loss counts."""

import torch.nn.functional as F
from torch import Tensor

from stesa_cli.masks import VOID, one_hot
from stesa_cli.model.state import Prediction


def clip_losses(
    predictions: list[Prediction],
    labels: Tensor,
    prompted: Tensor,
    fraction: float = 1.0,
    *,
    cross_entropy: float = 1.0,
    soft_iou: float = 1.0,
    auxiliary: float = 1.0,
) -> dict[str, Tensor]:
    """The weighted losses of a batch of clips by name, means over the predicted frames, which are those after the first
    (paper, eq 10, and a bootstrapped cross-entropy).

    ``labels`` (B, T, H, W) uint8 and ``prompted`` (B, O) int64 are those of ``ClipBatch``. An object counts from the
    frame after its prompt on, whether it has pixels there or not; in the frame of its prompt its pixels are void. The
    hardest ``fraction`` of the pixels counts in the cross-entropy; a loss of weight 0 is left out."""
    sums: dict[str, Tensor] = {}

    def add(name: str, weight: float, loss: Tensor) -> None:
        sums[name] = sums.get(name, 0) + weight * loss / len(predictions)

    ids = list(range(1, prompted.shape[1] + 1))
    for t, prediction in enumerate(predictions, 1):
        truth, valid = one_hot(labels[:, t], ids), prompted < t
        logits = F.interpolate(prediction.logits, size=truth.shape[2:], mode="bilinear", align_corners=False)
        if cross_entropy:
            entering = (truth.bool() & ~valid[..., None, None]).any(1)
            targets = labels[:, t].long().masked_fill(entering, VOID)
            add("cross_entropy", cross_entropy, bootstrapped_cross_entropy(logits, targets, fraction))
        if soft_iou:
            add("soft_iou", soft_iou, soft_iou_loss(logits.softmax(1)[:, 1:], truth, valid))
        for level in prediction.auxiliary:
            small = F.interpolate(truth, size=level.shape[2:], mode="area")
            loss = soft_iou_loss(level.float().sigmoid(), small, valid)
            add("auxiliary", auxiliary / len(prediction.auxiliary), loss)
    return sums


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

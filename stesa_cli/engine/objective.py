"""What training minimises: the weighted losses of a batch of clips."""

import torch.nn.functional as F
from torch import Tensor

from stesa_cli.engine.recipe import TrainConfig
from stesa_cli.masks import one_hot
from stesa_cli.model.losses import bootstrapped_cross_entropy, soft_iou_loss
from stesa_cli.model.network import Prediction


def clip_losses(
    predictions: list[Prediction], labels: Tensor, valid: Tensor, config: TrainConfig, fraction: float
) -> dict[str, Tensor]:
    """The weighted losses of a batch of clips, the mean over the frames after the first; labels (B, T, H, W)."""
    sums: dict[str, Tensor] = {}

    def add(name: str, weight: float, loss: Tensor) -> None:
        sums[name] = sums.get(name, 0) + weight * loss / (len(predictions) - 1)

    ids = list(range(1, valid.shape[1] + 1))
    for t, prediction in enumerate(predictions[1:], 1):
        truth = one_hot(labels[:, t], ids)
        logits = F.interpolate(prediction.logits, size=truth.shape[2:], mode="bilinear", align_corners=False)
        if config.cross_entropy:
            loss = bootstrapped_cross_entropy(logits, labels[:, t].long(), fraction)
            add("cross_entropy", config.cross_entropy, loss)
        if config.soft_iou:
            add("soft_iou", config.soft_iou, soft_iou_loss(logits.softmax(1)[:, 1:], truth, valid))
        if prediction.auxiliary is not None:
            small = F.interpolate(truth, size=prediction.auxiliary.shape[2:], mode="area")
            loss = soft_iou_loss(prediction.auxiliary.float().sigmoid(), small, valid)
            add("auxiliary", config.auxiliary, loss)
    return sums

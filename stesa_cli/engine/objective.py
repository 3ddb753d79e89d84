"""What training minimises: the weighted losses of a batch of clips."""

import torch.nn.functional as F
from torch import Tensor

from stesa_cli.engine.recipe import TrainConfig
from stesa_cli.masks import VOID, one_hot
from stesa_cli.model.losses import bootstrapped_cross_entropy, soft_iou_loss
from stesa_cli.model.network import Prediction


def clip_losses(
    predictions: list[Prediction], labels: Tensor, given: Tensor, config: TrainConfig, fraction: float
) -> dict[str, Tensor]:
    """The weighted losses of a batch of clips, means over the predicted frames, which are those after the first;
    ``labels`` (B, T, H, W) uint8, ``given`` (B, O) as ``Network.forward`` has it. An object counts from the frame after
    that in which it is given, whether it has pixels there or not; where it is given, they are void."""
    sums: dict[str, Tensor] = {}

    def add(name: str, weight: float, loss: Tensor) -> None:
        sums[name] = sums.get(name, 0) + weight * loss / len(predictions)

    ids = list(range(1, given.shape[1] + 1))
    for t, prediction in enumerate(predictions, 1):
        truth, valid = one_hot(labels[:, t], ids), given < t
        logits = F.interpolate(prediction.logits, size=truth.shape[2:], mode="bilinear", align_corners=False)
        if config.cross_entropy:
            entering = (truth.bool() & ~valid[..., None, None]).any(1)
            loss = bootstrapped_cross_entropy(logits, labels[:, t].long().masked_fill(entering, VOID), fraction)
            add("cross_entropy", config.cross_entropy, loss)
        if config.soft_iou:
            add("soft_iou", config.soft_iou, soft_iou_loss(logits.softmax(1)[:, 1:], truth, valid))
        if prediction.auxiliary is not None:
            small = F.interpolate(truth, size=prediction.auxiliary.shape[2:], mode="area")
            loss = soft_iou_loss(prediction.auxiliary.float().sigmoid(), small, valid)
            add("auxiliary", config.auxiliary, loss)
    return sums

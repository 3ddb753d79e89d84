"""What counts in the loss of a clip, and what does not."""

import torch
from torch import Tensor

from stesa_cli.masks import one_hot, soft_aggregation
from stesa_cli.model.decoder import reduce
from stesa_cli.model.losses import clip_losses
from stesa_cli.model.state import OFF, Prediction

LABELS = torch.zeros(1, 4, 16, 24, dtype=torch.uint8)
LABELS[:, :, 2:8, 2:10] = 1
LABELS[:, 2:, 8:14, 12:20] = 2


def predictions(labels: Tensor, **shown: list[int]) -> list[Prediction]:
    """Of the frames after the first: object 1 as in the labels, object 2 only in the frames named."""
    found = []
    for t in range(1, labels.shape[1]):
        masks = reduce(one_hot(labels[:, t], [1, 2]), 2, "max")
        masks[:, 1] *= t in shown["second"]
        objects = (masks * 2 - 1) * -OFF
        found.append(Prediction(soft_aggregation(objects), objects, (reduce(objects, 2, "max"),)))
    return found


def losses(labels: Tensor, found: list[Prediction], given: list[int]) -> dict[str, float]:
    parts = clip_losses(found, labels, torch.tensor([given]))
    return {name: loss.item() for name, loss in parts.items()}


def test_an_object_counts_after_the_frame_in_which_it_is_given():
    good, missed = (losses(LABELS, predictions(LABELS, second=shown), [0, 2]) for shown in ([3], []))
    assert good["cross_entropy"] < 0.35 and good["soft_iou"] < 0.15
    assert missed["cross_entropy"] > good["cross_entropy"] + 1 and missed["soft_iou"] > good["soft_iou"] + 0.1
    from_the_start = losses(LABELS, predictions(LABELS, second=[3]), [0, 0])
    assert from_the_start["cross_entropy"] > good["cross_entropy"] + 1


def test_an_object_that_has_left_is_to_be_switched_off():
    gone = LABELS.clone()
    gone[:, 3][gone[:, 3] == 2] = 0
    off, on = predictions(gone, second=[2]), predictions(LABELS, second=[2, 3])
    right, wrong = (losses(gone, found, [0, 0]) for found in (off, on))
    for name, loss in right.items():
        assert wrong[name] > loss + 0.1, name

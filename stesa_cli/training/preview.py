"""A batch of clips as a picture."""

import numpy as np
from torch import Tensor

from stesa_cli.data.clip import ClipBatch
from stesa_cli.masks import VOID, label_map
from stesa_cli.model.decoder import upsample
from stesa_cli.model.state import Prediction
from stesa_cli.video.overlay import overlay


def draw_batch(batch: ClipBatch, predictions: list[Prediction] | None = None) -> np.ndarray:
    """For each clip a row of frames with their true masks over them and, given predictions, a row with the predicted
    masks of the frames after the first. Returns (H, W, 3) uint8 RGB."""
    rows = []
    for clip, frames in enumerate(batch.frames):
        images = [_array(frame.permute(1, 2, 0)) for frame in frames]
        truth = [np.where(labels == VOID, 0, labels) for labels in map(_array, batch.labels[clip])]
        rows.append(np.hstack(list(map(overlay, images, truth))))
        if predictions is not None:
            found = [_predicted(p.logits[clip], truth[0].shape) for p in predictions]
            rows.append(np.hstack(list(map(overlay, images, [truth[0], *found]))))
    return np.vstack(rows)


def _array(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.cpu().numpy())


def _predicted(logits: Tensor, size: tuple[int, ...]) -> np.ndarray:
    return label_map(upsample(logits[None].float(), size)[0], list(range(1, len(logits))))

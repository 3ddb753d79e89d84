"""Whole clips through the network, for training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from stesa_cli.masks import soft_aggregation
from stesa_cli.model.decoder import reduce
from stesa_cli.model.state import OFF, Features, Prediction, State

if TYPE_CHECKING:
    from stesa_cli.model.network import Network


@dataclass(frozen=True)
class _Group:
    """Objects of a batch of clips that enter in one frame: their ``slots`` (B, N) among all O, and their state."""

    slots: Tensor
    state: State


def unroll(
    network: "Network",
    frames: Tensor,
    masks: Tensor,
    prompted: Tensor,
    teacher_forcing: Tensor,
    flow: Tensor | None,
    flaws: Tensor | None,
) -> list[Prediction]:
    """See ``Network.forward``."""
    encoded = network.encode(frames.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last))
    first, *others = encoded.split(len(frames))
    truth = reduce(masks.flatten(0, 1), 2, "area").unflatten(0, masks.shape[:2])
    # how many objects a clip gets in each frame, at most
    most = (prompted[..., None] == torch.arange(masks.shape[1], device=prompted.device)).sum(1).amax(0).tolist()
    shown = truth[:, 0] if flaws is None else _flawed(truth[:, 0], flaws[:, 0])[0]
    groups, predictions = [_enter(network, first, shown, prompted == 0, most[0])], []
    for t, features in enumerate(others, 1):
        to_last = None if flow is None else flow[:, t - 1]
        decoded = [network.decode(features, group.state, to_last) for group in groups]
        objects = _joined(groups, [found.objects for found, _ in decoded], prompted.shape[1])
        levels = zip(*(found.auxiliary for found, _ in decoded), strict=True)
        auxiliary = tuple(_joined(groups, each, prompted.shape[1]) for each in levels)
        predictions.append(Prediction(soft_aggregation(objects), objects, auxiliary))
        propagated = predictions[-1].logits.softmax(1)[:, 1:] if network.config.aggregate else objects.sigmoid()
        # of objects not prompted yet the truth is nothing; objects prompted now take their pixels from the others
        fixed = (teacher_forcing[:, t, None] | (prompted >= t))[..., None, None]
        propagated = propagated * (1 - (truth[:, t] * fixed).sum(1, keepdim=True))
        propagated = torch.where(fixed, truth[:, t], propagated)
        if flaws is not None:
            propagated, sound = _flawed(propagated, flaws[:, t])
            # what the states know there would give it away
            decoded = [(found, state.faded(sound)) for found, state in decoded]
        present = propagated.sum(1, keepdim=True)
        for at, (group, (_, state)) in enumerate(zip(groups, decoded, strict=True)):
            own = _chosen(propagated, group.slots)
            groups[at] = replace(group, state=network.advance(features, state, own, present))
        if most[t]:
            groups.append(_enter(network, features, propagated, prompted == t, most[t]))
    return predictions


def _flawed(masks: Tensor, flaws: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (B, O, H, W) with flaws (B, O + 1, h, w) in their place, and where there are none, (B, 1, H, W)."""
    flaw = F.interpolate(flaws, masks.shape[2:], mode="bilinear")
    sound = 1 - flaw.sum(1, keepdim=True)
    return masks * sound + flaw[:, 1:], sound


def _enter(network: "Network", features: Features, masks: Tensor, prompted: Tensor, most: int) -> _Group:
    """A group of the objects that are ``prompted`` (B, O) bool in a frame with masks (B, O, H/2, W/2), ``most`` a
    clip; where a clip has fewer, the rest is not valid."""
    slots = (~prompted).int().argsort(stable=True, dim=1)[:, :most]
    present, valid = masks.sum(1, keepdim=True), prompted.gather(1, slots)
    return _Group(slots, network.start(features, _chosen(masks, slots), valid, present)[1])


def _chosen(masks: Tensor, slots: Tensor) -> Tensor:
    """Masks (B, O, h, w) -> those in slots (B, N), (B, N, h, w)."""
    return masks.take_along_dim(slots[..., None, None], 1)


def _joined(groups: list[_Group], parts: Sequence[Tensor], objects: int) -> Tensor:
    """Logits (B, N, h, w) of each group as those of all ``objects`` (B, O, h, w)."""
    whole = parts[0].new_full((len(parts[0]), objects, *parts[0].shape[2:]), OFF)
    for group, part in zip(groups, parts, strict=True):
        slots = group.slots[..., None, None].expand_as(part)
        whole = whole.scatter(1, slots, torch.where(group.state.valid[..., None, None], part, whole.gather(1, slots)))
    return whole

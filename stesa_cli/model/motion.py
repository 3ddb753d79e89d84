"""What moves with an object and not with the background, as the decoder sees it: parts that no mask has shown yet."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stesa_cli.model.decoder import reduce, upsample

PIXEL = 1 / 480
"""The unit of motion, in heights of the frame."""
ROUNDS = 3
CUES = 5


def relative_motion(flow: Tensor, masks: Tensor, present: Tensor) -> Tensor:
    """For warped masks (B, O, H, W) in [0, 1] and the sum of those of all objects, ``present`` (B, 1, H, W): how far
    each pixel's motion is from the background's and from the object's mean, how badly the flow explains it, the mask
    itself, and how far the pixel is from the object, (B, O, CUES, H / 4, W / 4) float32. The ``flow`` (B, 3, h, w)
    is that of ``data.flow.optical_flow``.

    Differences of motion are logarithms, log(1 + pixels at 480 lines). The background's motion is the affine one that
    most pixels outside of all masks have (least squares, reweighted). Distance is that from the object's centre, over
    the object's standard deviation, d / (1 + d); 1 everywhere for an object that is not there."""
    small = reduce(masks.detach().float(), 4, "area")
    error = F.interpolate(flow[:, 2:], size=small.shape[2:], mode="bilinear", antialias=True)
    apart, mass = from_background(flow, reduce(present.detach().float(), 4, "area")), small[:, :, None]
    own = (mass * apart[:, None]).sum((3, 4), keepdim=True) / (mass.sum((3, 4), keepdim=True) + 1)
    moved = apart.norm(dim=1)[:, None].expand_as(small)
    from_object = (apart[:, None] - own).norm(dim=2)
    away = _away(small)
    return torch.stack([moved.log1p(), from_object.log1p(), error.expand_as(small), small, away], 2)


def from_background(flow: Tensor, present: Tensor) -> Tensor:
    """How far the ``flow`` (B, 3, …) to the frame before is from that of the background, where no object is
    ``present`` (B, 1, h, w): (B, 2, h, w) in pixels at 480 lines."""
    height, width = present.shape[2:]
    x, y = F.interpolate(flow[:, :2], size=(height, width), mode="bilinear", antialias=True).split(1, 1)
    shift = torch.cat([x * (width / height), y], 1) / PIXEL
    return shift - _affine(shift, (1 - present).clamp(0, 1))


def _away(masks: Tensor) -> Tensor:
    """Distance from the centre of each of the masks (B, O, h, w), in its standard deviations, d / (1 + d)."""
    height, width = masks.shape[2:]
    rows, columns = (torch.arange(side, device=masks.device, dtype=masks.dtype) for side in (height, width))
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))  # (2, h, w)
    share = (masks / (masks.sum((2, 3), keepdim=True) + 1e-6))[:, :, None]
    centre = (share * places).sum((3, 4), keepdim=True)
    square = (places - centre).square().sum(2)
    variance = (share[:, :, 0] * square).sum((2, 3), keepdim=True)
    distance = (square / (variance + 1)).sqrt()
    return torch.where(masks.sum((2, 3), keepdim=True) > 1, distance / (1 + distance), 1)


def _affine(flow: Tensor, weights: Tensor) -> Tensor:
    """The affine motion (B, 2, h, w) that most of a flow (B, 2, h, w) has where ``weights`` (B, 1, h, w) are."""
    rows, columns = (torch.linspace(-1, 1, side, device=flow.device, dtype=flow.dtype) for side in flow.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    basis = torch.stack([torch.ones_like(x), x, y])[None, :, None]  # (1, 3, 1, h, w)
    fitted, robust = flow, weights
    for _ in range(ROUNDS):
        weighted = robust[:, :, None] * basis
        # sums of products by hand: autocast would take matrix products to bfloat16
        gram = (weighted * basis.transpose(1, 2)).sum((3, 4)) + torch.eye(3, device=flow.device)
        right = (weighted * flow[:, None]).sum((3, 4))
        fitted = (_solved(gram, right)[..., None, None] * basis).sum(1)
        robust = weights / (1 + (flow - fitted).square().sum(1, keepdim=True) / 4)
    return fitted


def _solved(matrices: Tensor, right: Tensor) -> Tensor:
    """The X of ``matrices`` X = ``right``, (B, 3, 3) and (B, 3, N), by the adjugate: in a few products on any device,
    and in any runtime."""
    rows = [matrices[:, i] for i in range(3)]
    adjugate = torch.stack([torch.linalg.cross(rows[i - 2], rows[i - 1], dim=1) for i in range(3)], 2)
    return (adjugate[..., None] * right[:, None]).sum(2) / (rows[0] * adjugate[:, :, 0]).sum(1)[:, None, None]


class MotionPyramid(nn.Module):
    """``relative_motion`` -> what is added to the three coarsest skips of each object (nothing, before it is trained),
    and the masks that motion alone tells: to predict these keeps it from leaving all to the look of things."""

    def __init__(self, channels: int, skips: tuple[int, ...]) -> None:
        super().__init__()
        fine, middle, coarse = channels, 2 * channels, 2 * channels
        self.down = nn.ModuleList([_convolved(CUES, fine), _convolved(fine, middle, 2), _convolved(middle, coarse, 2)])
        self.up = nn.ModuleList([_convolved(coarse + middle, middle), _convolved(middle + fine, fine)])
        self.skips = nn.ModuleList(nn.Conv2d(w, s, 1) for w, s in zip((coarse, middle, fine), skips[:3], strict=True))
        for parameter in self.skips.parameters():
            nn.init.zeros_(parameter)
        self.out = nn.Conv2d(fine, 1, 3, padding=1)

    def forward(self, cues: Tensor) -> tuple[list[Tensor], Tensor]:
        """(B, O, CUES, H / 8, W / 8) -> per level, coarse to fine, (B, O, C, h, w); logits (B, O, H / 8, W / 8)."""
        maps = [cues.flatten(0, 1).contiguous(memory_format=torch.channels_last)]
        for down in self.down:
            maps.append(down(maps[-1]))
        found = [maps.pop()]
        for up in self.up:
            beside = maps.pop()
            found.append(up(torch.cat([upsample(found[-1], beside.shape[2:]), beside], 1)))
        added = [skip(level).unflatten(0, cues.shape[:2]) for skip, level in zip(self.skips, found, strict=True)]
        return added, self.out(found[-1]).unflatten(0, cues.shape[:2])[:, :, 0]


def _convolved(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(),
    )

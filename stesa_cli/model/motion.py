"""What moves with an object and not with the background, as the decoder sees it: parts that no mask has shown yet."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stesa_cli.model.flow import Flow

PIXEL = 1 / 480
"""The unit of motion, in heights of the frame."""
ROUNDS = 3
CHANNELS = 4


def relative_motion(flow: Flow, masks: Tensor) -> Tensor:
    """For masks (B, O, H, W) of the frame before in [0, 1], carried along the ``flow`` to it: how far each pixel's
    motion is from the background's and from the object's mean, how badly the flow explains it, and the mask itself,
    (B, O, CHANNELS, H / 2, W / 2) float32.

    Distances are logarithms, log(1 + pixels at 480 lines). The background's motion is the affine one that most pixels
    outside of all masks have (least squares, reweighted)."""
    small = F.avg_pool2d(masks.detach().float(), 2)
    size = small.shape[2:]
    shift, error = (F.interpolate(m.to(small), size=size, mode="bilinear", antialias=True) for m in vars(flow).values())
    shift = shift * shift.new_tensor([masks.shape[3] / masks.shape[2], 1]).view(2, 1, 1) / PIXEL
    apart = shift - _affine(shift, (1 - small.sum(1, keepdim=True)).clamp(0, 1))
    mass = small[:, :, None]
    own = (mass * apart[:, None]).sum((3, 4), keepdim=True) / (mass.sum((3, 4), keepdim=True) + 1)
    from_background = apart.norm(dim=1)[:, None].expand_as(small)
    from_object = (apart[:, None] - own).norm(dim=2)
    return torch.stack([from_background.log1p(), from_object.log1p(), error.expand_as(small), small], 2)


def _affine(flow: Tensor, weights: Tensor) -> Tensor:
    """The affine motion (B, 2, h, w) that most of a flow (B, 2, h, w) has where ``weights`` (B, 1, h, w) are."""
    height, width = flow.shape[2:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    basis = torch.stack([torch.ones_like(x), x, y]).to(flow)[None, :, None]  # (1, 3, 1, h, w)
    fitted, robust = flow, weights
    for _ in range(ROUNDS):
        weighted = robust[:, :, None] * basis
        # sums of products by hand: autocast would take matrix products to bfloat16
        gram = (weighted * basis.transpose(1, 2)).sum((3, 4)) + torch.eye(3).to(flow)
        right = (weighted * flow[:, None]).sum((3, 4))
        fitted = (torch.linalg.solve(gram, right)[..., None, None] * basis).sum(1)
        robust = weights / (1 + (flow - fitted).square().sum(1, keepdim=True) / 4)
    return fitted


class MotionPyramid(nn.Module):
    """``relative_motion`` -> what is added to the skips of each object; nothing, before it is trained."""

    def __init__(self, channels: int, skips: tuple[int, ...]) -> None:
        super().__init__()
        widths = [channels * 2 ** min(level, 2) for level in range(len(skips))]  # fine to coarse
        inputs = [CHANNELS, *widths[:-1]]
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, w, 3, padding=1, stride=1 if level == 0 else 2),
                nn.ReLU(),
                nn.Conv2d(w, w, 3, padding=1),
                nn.ReLU(),
            )
            for level, (i, w) in enumerate(zip(inputs, widths, strict=True))
        )
        self.out = nn.ModuleList(nn.Conv2d(w, s, 1) for w, s in zip(widths, reversed(skips), strict=True))
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, cues: Tensor) -> list[Tensor]:
        """(B, O, CHANNELS, H / 4, W / 4) -> per level, coarse to fine, (B, O, C, h, w)."""
        maps, found = cues.flatten(0, 1).contiguous(memory_format=torch.channels_last), []
        for level, out in zip(self.levels, self.out, strict=True):
            maps = level(maps)
            found.append(out(maps).unflatten(0, cues.shape[:2]))
        return found[::-1]

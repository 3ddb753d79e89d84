"""EfficientNet-Lite (Google, 2020) as timm has it, each batch norm folded into the convolution before it: the same
names of weights, the same features. It is here so that whoever segments with shipped weights need not wait for timm and
torchvision, which take longer to import than torch."""

from math import ceil
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALES = {
    f"tf_efficientnet_lite{n}": s for n, s in enumerate([(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8)])
}
"""How wide and how deep each is, against number 0, by timm's name."""
STAGES = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112), (4, 5, 2, 192), (1, 3, 1, 320))
"""Of number 0: blocks, kernel, stride and channels."""
LEVELS = (0, 1, 2, 4, 6)
"""The last stage at each stride: 2, 4, 8, 16, 32."""
STEM, EXPANSION = 32, 6


class EfficientNetLite(nn.Module):
    """Normalised images (B, 3, H, W) float, H and W multiples of 32 -> one feature map per stride, fine to coarse: 4,
    8, 16, 32, and before these 2 where ``fine``."""

    default_cfg: ClassVar = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

    def __init__(self, name: str, fine: bool) -> None:
        super().__init__()
        wide, deep = SCALES[name]
        self.stages = LEVELS if fine else LEVELS[1:]
        self.conv_stem = Convolution(3, STEM, 3, stride=2)
        self.blocks = nn.Sequential()
        before = STEM
        channels = []
        for number, (count, kernel, stride, width) in enumerate(STAGES):
            count, width = count if number in (0, 6) else ceil(count * deep), _rounded(width * wide)
            stage = nn.Sequential()
            for block in range(count):
                stage.append(_Block(before, width, kernel, stride if block == 0 else 1, expands=number > 0))
                before = width
            self.blocks.append(stage)
            channels.append(width)
        self.channels = tuple(channels[stage] for stage in self.stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.conv_stem(x)
        found = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in self.stages:
                found.append(x)
        return found


class _Block(nn.Module):
    """An inverted residual; the first block of all does not expand, and names its layers otherwise."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, expands: bool) -> None:
        super().__init__()
        self.adds = stride == 1 and channels == width
        inner = channels
        if expands:
            inner *= EXPANSION
            self.conv_pw = Convolution(channels, inner, 1)
        self.conv_dw = Convolution(inner, inner, kernel, stride, groups=inner)
        self.add_module("conv_pwl" if expands else "conv_pw", Convolution(inner, width, 1, clipped=False))

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.children()
        y = x
        for convolution in inner:
            y = convolution(y)
        return last(y, x) if self.adds else last(y)


class Convolution(nn.Conv2d):
    """Padded as TensorFlow does: at stride 2 (``uneven``), of an even size, one pixel more at the end than at the
    start. What is ``clipped`` goes through ReLU6."""

    def __init__(
        self, channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1, clipped: bool = True
    ) -> None:
        self.uneven, self.clipped = stride == 2, clipped
        super().__init__(channels, width, kernel, stride, kernel // 2, groups=groups)
        nn.init.normal_(self.weight, std=(2 * groups / (kernel**2 * width)) ** 0.5)
        nn.init.zeros_(cast(Tensor, self.bias))

    @property
    def kernel(self) -> Tensor:
        """The weights for padding that is the same on all sides: with a row and a column of zeros where it is not."""
        return F.pad(self.weight, (1, 0, 1, 0)) if self.uneven else self.weight

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        if self.uneven and self.groups > 1 and x.requires_grad and x.device.type == "cpu":
            # oneDNN's gradient takes 30 times as long in bfloat16 as in float32
            with torch.autocast("cpu", enabled=False):
                x = self._conv_forward(x.float(), self.kernel, self.bias).to(x.dtype)
        else:
            x = self._conv_forward(x, self.kernel, self.bias)
        if self.clipped:
            x = F.relu6(x, inplace=True)
        return x if added is None else added + x


def _rounded(width: float) -> int:
    """To a multiple of 8, but never down by more than a tenth."""
    near = int(width + 4) // 8 * 8
    return near if near >= 0.9 * width else near + 8

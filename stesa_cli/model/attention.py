"""Self-attention in space (the paper's non-local block) and in space and time (a memory of past frames)."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pairwise = Literal["gaussian", "embedded", "dot"]


class NonLocalBlock(nn.Module):
    """2-D non-local block (Wang et al. 2018): ``x + W g(x) f(x, x)``, (B, C, H, W) -> the same shape.

    The pairwise function f is ``gaussian`` (softmax of x·x), ``embedded`` (softmax of θx·φx) or ``dot`` (θx·φx / N).
    The last batch norm starts at zero, so a new block starts as the identity."""

    def __init__(self, channels: int, pairwise: Pairwise = "gaussian") -> None:
        super().__init__()
        if pairwise not in get_args(Pairwise):
            raise ValueError(pairwise)
        self.pairwise = pairwise
        inner = max(channels // 2, 1)
        embedded = pairwise != "gaussian"
        self.theta = nn.Conv2d(channels, inner, 1) if embedded else nn.Identity()
        self.phi = nn.Conv2d(channels, inner, 1) if embedded else nn.Identity()
        self.g = nn.Conv2d(channels, inner, 1)
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.out = nn.Sequential(nn.Conv2d(inner, channels, 1), norm)

    def forward(self, x: Tensor) -> Tensor:
        theta, phi, g = (part(x).flatten(2).transpose(1, 2) for part in (self.theta, self.phi, self.g))
        if self.pairwise == "dot":  # without the softmax the products may be taken in the cheap order
            answer = theta @ (phi.transpose(1, 2) @ g) / g.shape[1]
        else:
            answer = F.scaled_dot_product_attention(theta, phi, g, scale=1.0)
        return x + self.out(answer.transpose(1, 2).unflatten(2, x.shape[2:]))


@dataclass(frozen=True, eq=False)
class MemoryFrame:
    """A frame in memory with N = h·w positions at stride 16: ``key`` (B, N, K), ``value`` (B, N, O, V); ``prompted``
    where its mask is no prediction."""

    index: int
    key: Tensor
    value: Tensor
    prompted: bool = False


@dataclass(frozen=True)
class Memory:
    """Memory frames: the first and the newest always, in between those that were prompted and every ``mem_every``-th;
    beyond ``max_mem_frames`` (the newest not counted) the oldest but the first is dropped, prompted ones last of
    all."""

    mem_every: int
    max_mem_frames: int
    frames: tuple[MemoryFrame, ...] = ()

    def write(self, frame: MemoryFrame) -> "Memory":
        kept = [old for old in self.frames if old.prompted or old.index % self.mem_every == 0]
        return replace(self, frames=(*_few(kept, self.max_mem_frames), frame))

    def resized(self, most: int) -> "Memory":
        """With room for another number of frames."""
        return replace(self, max_mem_frames=most, frames=(*_few(list(self.frames[:-1]), most), *self.frames[-1:]))

    def gathered(self) -> tuple[Tensor, Tensor]:
        """All keys (B, M·N, K) and values (B, M·N, O, V), the newest last."""
        return torch.cat([frame.key for frame in self.frames], 1), torch.cat([frame.value for frame in self.frames], 1)

    def recropped(self, scale: tuple[float, float], shift: tuple[float, float]) -> "Memory":
        """For frames whose part that is seen has become ``scale`` (y, x) times as large, its centre moved by ``shift``
        (y, x), in heights of the part seen before: its positions are where that has them."""
        frames = []
        for frame in self.frames:
            looks, x, y, _, _ = _parts(frame.key)
            placed = _placed(looks, (x - shift[1]) / scale[1], (y - shift[0]) / scale[0])
            frames.append(replace(frame, key=placed))
        return replace(self, frames=tuple(frames))


def _few(frames: list[MemoryFrame], most: int) -> list[MemoryFrame]:
    while len(frames) > most > 0:
        others = frames[1:]
        frames.remove(next((frame for frame in others if not frame.prompted), others[0]))
    return frames


PLACE = 4
"""Channels of a key that say where it is."""


def _placed(looks: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Unit vectors (B, N, K) and positions (…, N, 1) -> keys (B, N, K + 4)."""
    place = torch.cat([x, y, x**2 + y**2, torch.ones_like(x)], -1)
    return torch.cat([looks, place.expand(len(looks), -1, -1)], -1)


def _parts(keys: Tensor) -> tuple[Tensor, ...]:
    """Keys (B, N, K + 4) -> unit vectors (B, N, K), x, y, x² + y² and 1, each (B, N, 1)."""
    return keys.split([keys.shape[-1] - PLACE, *[1] * PLACE], -1)


class SpaceTimeNonLocalBlock(nn.Module):
    """The current frame attends over all positions of the remembered frames (STM, Oh et al. 2019).

    Keys are cosine features of the stride-16 map, shared by all objects, with a learned temperature. From them the
    squared distance of the two positions is taken off, times a learned weight for the newest frame and another for the
    older ones: what looks the same is told apart by where it is. What is read per object is a learned value next to the
    raw fine shape of its mask (``pixel_unshuffle`` of the stride-4 mask)."""

    FINE = 16  # pixels of the stride-4 mask in one stride-16 position

    def __init__(self, features: int, keys: int, values: int, temperature_scale: float = 1.0) -> None:
        super().__init__()
        self.to_key = nn.Conv2d(features, keys, 3, padding=1)
        self.to_value = nn.Sequential(
            nn.Conv2d(features + 2 * self.FINE, 128, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, values, 3, padding=1),
        )
        # its logarithm, as steps of one size must move it as they move the other weights
        self.log_temperature, self.temperature_scale = nn.Parameter(torch.tensor(10.0).log()), temperature_scale
        self.log_locality = nn.Parameter(torch.tensor([16.0, 2.0]).log())  # of the newest frame, of the older ones
        self.channels, self.key_channels = values + self.FINE, keys + PLACE
        if self.key_channels > self.channels:
            raise ValueError(f"keys ({keys}) may not be wider than values + {self.FINE - PLACE}")

    def key(self, features: Tensor) -> Tensor:
        """Features (B, C, h, w) at stride 16 -> keys (B, h·w, K + 4): a unit vector, then the position as x, y,
        x² + y² and 1, from the centre in units of the frame's height."""
        height, width = features.shape[2:]
        y, x = torch.meshgrid(
            *(torch.arange(side, device=features.device).add(0.5 - side / 2) / height for side in (height, width)),
            indexing="ij",
        )
        looks = F.normalize(self.to_key(features), dim=1).flatten(2).transpose(1, 2)
        return _placed(looks, x.reshape(-1, 1), y.reshape(-1, 1)).contiguous()

    def value(self, features: Tensor, masks: Tensor, others: Tensor) -> Tensor:
        """Features (B, C, h, w), soft masks of the objects and, to each, of all others together, both (B, O, 4h, 4w) in
        [0, 1] -> values (B, h·w, O, V)."""
        objects = masks.shape[1]
        fine, others = (F.pixel_unshuffle(m.flatten(0, 1).unsqueeze(1), 4) for m in (masks, others))
        repeated = features.repeat_interleave(objects, 0)
        learned = self.to_value(torch.cat([repeated, fine.to(features.dtype), others.to(features.dtype)], 1))
        values = torch.cat([learned, fine.to(learned.dtype)], 1)
        return values.flatten(2).unflatten(0, (-1, objects)).permute(0, 3, 1, 2).contiguous()

    def readout(self, key: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The frame's keys (B, N, K + 4), those of a memory of M frames, the newest last, (B, M·N, K + 4), and its
        values (B, M·N, O, V) -> the readout of each object's memory, (B, N, O, V)."""
        newest, older = self.log_locality.exp()
        positions = key.shape[1]
        weights = torch.cat([older.expand(keys.shape[1] - positions), newest.expand(positions)])[:, None]
        keys = torch.cat([keys[..., :-PLACE], keys[..., -PLACE:] * weights], -1)
        looks, x, y, square, one = _parts(key)
        temperature = self.log_temperature.exp() * (1.0 if self.training else self.temperature_scale)
        # times a position of the memory: 2·xx' + 2·yy' - (x'² + y'²) - (x² + y²), the squared distance below zero
        query = torch.cat([looks * temperature, 2 * x, 2 * y, -one, -square], -1)
        # the values of all objects side by side, so that the affinities are computed once
        value = values.flatten(2)
        if not torch.jit.is_tracing():  # PyTorch's fused kernel wants keys as wide as values
            room = 0, value.shape[-1] - key.shape[-1]
            query, keys = F.pad(query, room), F.pad(keys, room)
        read = F.scaled_dot_product_attention(query[:, None], keys[:, None], value[:, None], scale=1.0)[:, 0]
        return read.unflatten(-1, values.shape[2:])

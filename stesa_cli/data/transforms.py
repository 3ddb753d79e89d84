"""Augmentation with torchvision v2: one transform for all frames of a clip, masks by nearest neighbour."""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2


def augmentation(
    size: tuple[int, int], zoom: tuple[float, float], sharpen: float = 0, recolour: float = 0
) -> v2.Transform:
    """Crop of the given share of the frame's area resized to ``size`` (H, W), flip, rotation, shear, colour, blur; the
    share ``sharpen`` of the clips is sharpened, the share ``recolour`` gets other colours altogether."""
    sharpened = v2.RandomChoice([v2.RandomAdjustSharpness(factor, p=1) for factor in (2, 3, 4)])
    recoloured = v2.Compose([v2.RandomChannelPermutation(), v2.ColorJitter(hue=0.5)])
    return v2.Compose(
        [
            v2.RandomApply([v2.RandomAffine(degrees=12, shear=6)], p=0.5),
            v2.RandomResizedCrop(size, scale=zoom, ratio=(1.2, 2.4), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3)], p=0.7),
            v2.RandomGrayscale(p=0.03),
            v2.RandomApply([v2.GaussianBlur(5, sigma=(0.3, 1.5))], p=0.1),
            v2.RandomApply([sharpened], p=sharpen),
            v2.RandomApply([recoloured], p=recolour),
        ]
    )


def augment(transform: v2.Transform, frames: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (T, 3, H, W) uint8 RGB and label maps (T, H, W) uint8 -> the same kinds at the transform's size."""
    video, masks = transform(tv_tensors.Video(frames), tv_tensors.Mask(labels))
    return video.as_subclass(torch.Tensor), masks.as_subclass(torch.Tensor)

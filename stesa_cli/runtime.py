"""Where and how the network runs: device, precision, memory format, and the way there and back."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from stesa_cli.errors import ConfigError

Precision = Literal["auto", "bf16", "fp16", "fp32"]


def find_device(name: str = "auto") -> torch.device:
    """``auto`` (CUDA, then Apple's MPS, then CPU) or a torch device name. Raises ConfigError when it is not there."""
    if name == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(found)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError("is not to be had on this machine", f"device {name!r}", "use auto or cpu") from error
    return device


def place(network: Module, device: torch.device) -> None:
    """Move a network to a device, channels last, which convolutions prefer; on CUDA let products of fp32 run as TF32,
    and cuDNN choose its fastest kernels."""
    network.to(device)
    network.to(memory_format=torch.channels_last)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


def resolved(device: torch.device, precision: Precision) -> Precision:
    """``auto`` becomes what the hardware multiplies natively: bf16, on older CUDA devices fp16, elsewhere fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "fp32"


def autocast_dtype(device: torch.device, precision: Precision) -> torch.dtype | None:
    """What products are computed in, None for fp32."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(resolved(device, precision))


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which the network runs."""
    dtype = autocast_dtype(device, precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy of an array, whatever its strides, on the device."""
    return torch.from_numpy(np.array(array, order="C")).to(device, non_blocking=True)


def download(tensor: Tensor) -> np.ndarray:
    """A tensor as an array on the host."""
    return tensor.cpu().numpy()

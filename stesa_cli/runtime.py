"""Where and how the network runs: device, precision, memory format."""

import ctypes
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Literal

import torch
from torch.nn import Module

from stesa_cli.errors import ConfigError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
Precision = Literal["auto", "bf16", "fp32"]


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
    """Move a network to a device, channels last, which convolutions prefer."""
    network.to(device)
    network.to(memory_format=torch.channels_last)
    if device.type == "cpu":
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed. Else the maps of every frame, tens of megabytes each, are got from the system
    anew, page by page, which a CPU spends much of its time on."""
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def uses_bf16(device: torch.device, precision: Precision) -> bool:
    """``auto`` is bf16 where the hardware multiplies it natively: elsewhere it is emulated, slower than fp32."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which the network runs."""
    return torch.autocast(device.type, torch.bfloat16) if uses_bf16(device, precision) else nullcontext()

import ctypes

import pytest
import torch

from stesa_cli import cli
from stesa_cli.errors import ConfigError
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.runtime import find_device, place, resolved

from .networks import tiny_network


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp16")])
def test_older_gpus_multiply_in_fp16(monkeypatch, native, precision):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert resolved(torch.device("cuda"), "auto") == precision
    assert resolved(torch.device("cuda"), "fp32") == "fp32"


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_cpu_multiplies_in_bf16_where_it_can(monkeypatch, native, precision):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert resolved(torch.device("cpu"), "auto") == precision and resolved(torch.device("mps"), "auto") == "fp32"


def test_cuda_is_set_up_for_speed(monkeypatch):
    network, cuda, cudnn = tiny_network(), torch.backends.cuda.matmul, torch.backends.cudnn
    monkeypatch.setattr(network, "to", lambda *_, **__: network)
    before = cuda.allow_tf32, cudnn.benchmark
    try:
        cuda.allow_tf32 = cudnn.benchmark = False
        place(network, torch.device("cpu"))
        assert not (cuda.allow_tf32 or cudnn.benchmark)
        place(network, torch.device("cuda"))
        assert cuda.allow_tf32 and cudnn.benchmark
    finally:
        cuda.allow_tf32, cudnn.benchmark = before


def test_only_the_command_line_changes_malloc(monkeypatch):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: asked.append(name) or type("C", (), {"mallopt": print}))
    Segmenter(tiny_network(), device="cpu")
    assert not asked
    cli.keep_freed_memory()
    assert asked == ["libc.so.6"]


def test_devices_that_are_not_there():
    assert find_device("cpu").type == "cpu"
    for name in ("cuda:77", "nonsense"):
        with pytest.raises(ConfigError, match=f"device '{name}': is not to be had on this machine; use auto or cpu"):
            find_device(name)

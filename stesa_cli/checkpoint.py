"""Checkpoints: a safetensors file that carries its model config, the format and how it was made in its header."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_bytes
from torch import Tensor

from stesa_cli import __version__
from stesa_cli.errors import ConfigError
from stesa_cli.files import atomic, write_text
from stesa_cli.model.network import ModelConfig, Network

FORMAT = "stesa-2"
OLDER = {"stesa-1": {"every": "mem_every", "size": "max_mem_frames", "sharpen": "temperature_scale"}}
"""Formats of earlier versions that can be read, and what the settings of the memory are called since."""
SHIPPED = Path(__file__).parent / "weights"
Loaded = tuple[Network, dict[str, Any]]
"""The network of a checkpoint, and the checkpoint's info."""


def save(path: Path, tensors: dict[str, Tensor], model: ModelConfig, info: dict[str, Any]) -> None:
    """Write tensors with the model config and ``info`` (JSON values) atomically."""
    header = {
        "format": FORMAT,
        "version": __version__,
        "model": model.model_dump_json(),
        "info": json.dumps(info),
    }
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        temporary.write_bytes(as_bytes(plain, header))  # save_file tells no full disk from other errors


def read(path: Path) -> tuple[dict[str, Tensor], ModelConfig, dict[str, Any]]:
    """Tensors, model config and info of a checkpoint. Raises ConfigError when the file is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError as error:
        raise ConfigError("no such weights", path, "give a .safetensors file or the name of shipped weights") from error
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"cannot be read as safetensors ({error})", path, "copy the file again") from error
    version = header.get("format", "")
    if version not in (FORMAT, *OLDER):
        raise ConfigError(f"has format {version!r}, not {FORMAT!r}", path, "use weights that stesa train wrote")
    settings, names = json.loads(header["model"]), OLDER.get(version, {})
    if memory := settings.get("memory"):
        settings["memory"] = {names.get(name, name): value for name, value in memory.items()}
    return tensors, ModelConfig.parse(settings, path), json.loads(header["info"])


def load_strictly(
    network: torch.nn.Module,
    tensors: dict[str, Tensor],
    where: Path,
    fix: str = "the file does not belong to its model config: train or copy again",
) -> None:
    """Load weights of any float type. Raises ConfigError that names missing, unexpected and misshapen tensors."""
    own = network.state_dict()
    shapes = [n for n in own.keys() & tensors.keys() if own[n].shape != tensors[n].shape]
    problems = {"missing": own.keys() - tensors.keys(), "unexpected": tensors.keys() - own.keys(), "misshapen": shapes}
    lines = [f"{len(names)} {kind} tensors, such as {min(names)}" for kind, names in problems.items() if names]
    if lines:
        raise ConfigError("; ".join(lines), where, fix)
    network.load_state_dict(tensors)


def find_weights(name: str | Path) -> Path:
    """A path as it is, or the name of shipped weights such as ``stesa``."""
    shipped = SHIPPED / f"{name}.safetensors"
    return shipped if not Path(name).is_file() and shipped.is_file() else Path(name)


def digest(weights: str | Path) -> str:
    """The SHA-256 of a checkpoint's file. Raises ConfigError when there is none."""
    path = find_weights(weights)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", path, "copy the weights to all machines") from error


def load_network(weights: str | Path) -> Loaded:
    """The network of a checkpoint in evaluation mode, float32, and the checkpoint's info."""
    path = find_weights(weights)
    tensors, model, info = read(path)
    network = Network(model)
    load_strictly(network, _weights(tensors), path)
    return network.float().eval(), info


def load_weights(network: Network, weights: str | Path) -> None:
    """Load the weights of a checkpoint into a network of another's making. Raises ConfigError as ``load_strictly``."""
    path = find_weights(weights)
    load_strictly(network, _weights(read(path)[0]), path, "choose weights of a model that is configured alike")


def export(target: Path, source: Path) -> None:
    """Write the weights of a checkpoint as fp16, and its info, which says how they were made, as ``<target>.json``."""
    network, info = load_network(source)
    if (train := info.get("run", {}).get("train", {})).get("initial"):
        train["initial"] = Path(train["initial"]).name  # its folder is nobody's business
    save(target, network.half().state_dict(), network.config, info)
    write_text(target.with_suffix(".json"), json.dumps({"version": __version__, **info}, indent=1) + "\n")


def _weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The averaged weights of a training checkpoint, all of a plain one."""
    return part(tensors, "ema.") or tensors


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

import json

import pytest
import torch
from safetensors.torch import save_file

from stesa_cli.checkpoint import load_network, read, save
from stesa_cli.errors import ConfigError

from .networks import MODEL, tiny_network


def test_checkpoints_are_strict(tmp_path):
    network = tiny_network()
    path = tmp_path / "tiny.safetensors"
    weights = network.state_dict()
    save(path, weights, MODEL, {"step": 3})
    loaded, info = load_network(path)
    assert info == {"step": 3} and loaded.config == MODEL and not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], weights[name]) for name in weights)
    name = "memory.log_temperature"
    save(path, {("other" if n == name else n): t for n, t in weights.items()}, MODEL, {})
    with pytest.raises(ConfigError, match=rf"1 missing tensors, such as {name}; 1 unexpected tensors, such as other"):
        load_network(path)
    (tmp_path / "no.safetensors").write_text("no weights")
    for wrong in ("no.safetensors", "gone.safetensors"):
        with pytest.raises(ConfigError, match=wrong):
            read(tmp_path / wrong)


def test_weights_of_version_0_1_are_read(tmp_path):
    model = json.loads(MODEL.model_dump_json())
    old = {"every": 2, "size": 2, "sharpen": 1.0, "keys": 64, "values": 64}
    header = {"format": "stesa-1", "model": json.dumps(model | {"memory": old}), "info": "{}"}
    save_file(tiny_network().state_dict(), tmp_path / "old.safetensors", header)
    assert load_network(tmp_path / "old.safetensors")[0].config == MODEL
    save_file(tiny_network().state_dict(), tmp_path / "new.safetensors", header | {"format": "stesa-9"})
    with pytest.raises(ConfigError, match=r"has format 'stesa-9', not 'stesa-2'"):
        read(tmp_path / "new.safetensors")

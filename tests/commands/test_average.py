import json

import pytest
import torch
from typer.testing import CliRunner

from stesa_cli.checkpoint import load_network, save
from stesa_cli.cli import app
from stesa_cli.errors import ConfigError, OutputError
from stesa_cli.model.network import Network

from ..networks import MODEL


def average(*arguments: object) -> None:
    result = CliRunner().invoke(app, ["average", *map(str, arguments)])
    if result.exception:
        raise result.exception


def test_the_mean_of_weights_with_the_makings_of_all(tmp_path):
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for number, path in enumerate(paths):
        torch.manual_seed(number)
        run = {"train": {"initial": "some/folder/first.safetensors"}}
        save(path, Network(MODEL).state_dict(), MODEL, {"step": number, "run": run})
    average(*paths, "-o", tmp_path / "mean.safetensors")
    mean, info = load_network(tmp_path / "mean.safetensors")
    each = [load_network(path)[0].state_dict() for path in paths]
    for name, weight in mean.state_dict().items():
        torch.testing.assert_close(weight.float(), sum(state[name] for state in each) / 3, atol=1e-3, rtol=1e-3)
    assert [made["step"] for made in info["average_of"]] == [0, 1, 2]
    told = json.loads((tmp_path / "mean.json").read_text())
    assert told["average_of"][2]["run"]["train"]["initial"] == "first.safetensors"
    with pytest.raises(OutputError, match="is there already"):
        average(*paths, "-o", tmp_path / "mean.safetensors")


def test_other_models_are_refused(tmp_path):
    other = MODEL.model_copy(update={"carry": "temporal"})
    for name, model in (("a", MODEL), ("b", other)):
        save(tmp_path / f"{name}.safetensors", Network(model).state_dict(), model, {})
    with pytest.raises(ConfigError, match=r"b\.safetensors: is of another model than .*a\.safetensors"):
        average(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "-o", tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()

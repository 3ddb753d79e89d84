"""What a run begins with, and how it goes on after a kill or a stop."""

import json
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from stesa_cli.checkpoint import read, save
from stesa_cli.errors import ConfigError
from stesa_cli.model.network import Network
from stesa_cli.training.config import RunConfig
from stesa_cli.training.trainer import Trainer

from ..tiny import TINY
from .runs import CONFIG, PLAIN, run, tensors


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(tiny_data, tmp_path):
    whole = run(CONFIG, tiny_data, tmp_path / "whole")
    assert [r.step for r in whole] == [1, 2, 3, 4, 5, 6]
    assert whole[2].validation is not None and 0 <= whole[5].validation.J <= 1
    first = run(CONFIG, tiny_data, tmp_path / "killed", until=5)
    second = run(CONFIG, tiny_data, tmp_path / "killed")
    assert len(first) == 5 and [r.step for r in second] == [5, 6]  # the checkpoint is of step 4
    assert [r.losses for r in whole] == [r.losses for r in (*first[:4], *second)]
    one, _, info = read(tmp_path / "whole" / "last.safetensors")
    other, _, same = read(tmp_path / "killed" / "last.safetensors")
    assert info.pop("hours") >= 0 and same.pop("hours") >= 0
    assert info == same and one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    lines = [json.loads(line)["step"] for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [1, 2, 3, 4, 5, 6]


KILLED = """
import os, signal, sys, tomllib
from pathlib import Path
from stesa_cli.training.config import RunConfig
from stesa_cli.training.trainer import Trainer
config = RunConfig.parse(tomllib.loads(sys.stdin.read()))
for report in Trainer(config, Path(sys.argv[1]), Path(sys.argv[2]), device="cpu", precision="fp32", workers=0).run():
    if report.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_dead_goes_on(tiny_data, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(CONFIG, tiny_data, whole)
    command = [sys.executable, "-c", KILLED, str(tiny_data), str(killed)]
    assert subprocess.run(command, input=TINY, text=True, check=False).returncode == -signal.SIGKILL
    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "los')  # as a full disk leaves it
    assert [r.step for r in run(CONFIG, tiny_data, killed)] == [5, 6]
    one, other = (read(folder / "last.safetensors")[0] for folder in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_is_stopped_is_saved_and_goes_on_as_if_it_was_not(tiny_data, tmp_path):
    stop: list[int] = []
    reports = []
    for report in Trainer(CONFIG, tiny_data, tmp_path / "stopped", **PLAIN).run(lambda: bool(stop)):
        reports.append(report)
        if report.step == 4:
            stop.append(1)
    assert [r.step for r in reports] == [1, 2, 3, 4, 5]  # the next step notices; 5 is no step that is saved anyway
    reports += run(CONFIG, tiny_data, tmp_path / "stopped")
    assert [r.losses for r in reports] == [r.losses for r in run(CONFIG, tiny_data, tmp_path / "whole")]


@pytest.mark.parametrize("kill", [2, 3, 5])
def test_a_run_that_is_killed_in_a_stage_with_a_blend_goes_on_as_if_it_was_not(tiny_data, tmp_path, kill):
    """Its last checkpoint is of step 2, within a stage, of step 3, its end, or of step 4, within the next."""
    stages = tuple(stage.model_copy(update={"blend": 0.5}) for stage in CONFIG.stages)
    config = CONFIG.model_copy(update={"stages": stages})
    whole = run(config, tiny_data, tmp_path / "whole")
    first = run(config, tiny_data, tmp_path / "killed", until=kill)
    within = tensors(tmp_path / "killed")
    assert any(name.startswith("began.") for name in within) == (kill != 3)
    second = run(config, tiny_data, tmp_path / "killed")
    known = {report.step: report.losses for report in (*first, *second)}
    assert [known[report.step] for report in whole] == [report.losses for report in whole]
    one, other = tensors(tmp_path / "whole"), tensors(tmp_path / "killed")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_another_config_does_not_resume(tiny_data, tmp_path):
    run(CONFIG, tiny_data, tmp_path, until=2)
    with pytest.raises(ConfigError, match="another config"):
        run(CONFIG.adapted(seed=1), tiny_data, tmp_path)


def test_a_run_does_not_go_on_with_other_data(tiny_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    run(CONFIG, data, tmp_path / "run", until=2)
    (data / "davis2016/JPEGImages/480p/a/00005.jpg").unlink()
    with pytest.raises(ConfigError, match="other data"):
        run(CONFIG, data, tmp_path / "run")


@pytest.fixture
def weights(tmp_path):
    """Of a network that was not trained: a file and its tensors."""
    path, network = tmp_path / "begin.safetensors", Network(CONFIG.model)
    save(path, network.state_dict(), CONFIG.model, {})
    return path, network.state_dict()


def test_a_run_begins_with_given_weights_and_goes_on_without_them(weights, tiny_data, tmp_path):
    path, tensors = weights
    config = CONFIG.adapted(initial=str(path))
    begun = Trainer(config, tiny_data, tmp_path / "run", **PLAIN)
    for network in (begun.network, begun.state.ema.module):
        assert all(torch.equal(tensor, tensors[name]) for name, tensor in network.state_dict().items())
    run(config, tiny_data, tmp_path / "run", until=2)
    path.unlink()
    last = Trainer(config, tiny_data, tmp_path / "run", **PLAIN)
    expected = read(last.folder.last)[0]
    assert last.step == 2
    assert all(torch.equal(t, expected[f"model.{name}"]) for name, t in last.network.state_dict().items())


def test_weights_that_are_not_there_or_do_not_fit_are_told_in_one_line(weights, tiny_data, tmp_path):
    def refusal(config: RunConfig) -> str:
        with pytest.raises(ConfigError) as caught:
            Trainer(config, tiny_data, tmp_path / "run", device="cpu")
        return str(caught.value)

    assert "gone.safetensors: no such weights; give a .safetensors file" in refusal(
        CONFIG.adapted(initial="gone.safetensors")
    )
    wider = CONFIG.model.model_copy(update={"hidden": (8, 8, 8, 16)})
    told = refusal(CONFIG.adapted(initial=str(weights[0])).model_copy(update={"model": wider}))
    assert "begin.safetensors: 4 misshapen tensors, such as decoder.cells.3" in told
    assert not (tmp_path / "run").exists()

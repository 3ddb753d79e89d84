"""One true end-to-end of training: a tiny network on a tiny DAVIS, killed, resumed, validated."""

import json
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stesa_cli import __version__
from stesa_cli.checkpoint import export, load_network, read, save
from stesa_cli.data import davis
from stesa_cli.data.download import ARCHIVES
from stesa_cli.errors import ConfigError, InputError
from stesa_cli.masks import write_mask
from stesa_cli.model.network import Network
from stesa_cli.training.config import RunConfig, StageConfig
from stesa_cli.training.data import open_data
from stesa_cli.training.plots import draw_curves
from stesa_cli.training.trainer import Trainer

from ..tiny import TINY

CONFIG = RunConfig.parse(tomllib.loads(TINY))
CLIP = CONFIG.stages[0].clip


def changed(train: dict[str, Any] | None = None, **stage: Any) -> RunConfig:
    """The first stage alone, with other settings."""
    stages = (CONFIG.stages[0].model_copy(update=stage),)
    return CONFIG.model_copy(update={"stages": stages, "train": CONFIG.train.model_copy(update=train or {})})


PLAIN: dict[str, Any] = {"device": "cpu", "precision": "fp32", "workers": 0}
"""The same on every machine, also on one that multiplies bf16 natively."""


def run(config: RunConfig, data, folder, until: int | None = None) -> list:
    reports = []
    for report in Trainer(config, data, folder, **PLAIN).run():
        reports.append(report)
        if report.step == until:
            break  # as a kill: what came after the last checkpoint is lost
    return reports


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


def test_training_lowers_the_loss(tiny_data, tmp_path):
    config = changed({"held_out": ()}, steps=60, sources={"davis2016": 1.0}, decoder_rate=3e-3)
    losses = [r.losses["soft_iou"] for r in run(config, tiny_data, tmp_path)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_the_best_weights_are_exported_and_loaded(tiny_data, tmp_path):
    run(CONFIG, tiny_data, tmp_path / "run", until=3)
    export(tmp_path / "tiny.safetensors", tmp_path / "run" / "best.safetensors")
    network, info = load_network(tmp_path / "tiny.safetensors")
    assert info["step"] == 3 and info["run"]["train"]["held_out"] == ["c"]
    about = json.loads((tmp_path / "tiny.json").read_text())
    assert about == info | {"version": __version__}
    assert (about["seed"], about["device"], about["precision"], about["processes"]) == (0, "cpu", "fp32", 1)
    assert about["data"]["held out"]["sequences"] == 1 and 0 <= about["held_out_J"] <= 1
    assert {"python", "torch", "timm", "stesa-cli"} <= about["versions"].keys()
    tensors, _, _ = read(tmp_path / "tiny.safetensors")
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}
    assert network.config == CONFIG.model and next(network.parameters()).dtype == torch.float32


def test_a_process_may_train_in_one_precision_and_then_in_another(tiny_data, tmp_path):
    for precision in ("bf16", "fp32", "bf16"):
        folder = tmp_path / f"{precision}-{len(list(tmp_path.iterdir()))}"
        next(Trainer(CONFIG, tiny_data, folder, **PLAIN | {"precision": precision}).run())
        assert json.loads((folder / "starts.json").read_text())[-1]["precision"] == precision


def test_another_config_does_not_resume(tiny_data, tmp_path):
    run(CONFIG, tiny_data, tmp_path, until=2)
    with pytest.raises(ConfigError, match="another config"):
        run(CONFIG.adapted(seed=1), tiny_data, tmp_path)


def test_all_missing_data_is_named_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        open_data(CONFIG, tmp_path)
    assert "DAVIS-2016" in str(caught.value) and "stills" in str(caught.value)


def test_held_out_sequences_are_not_trained_on(tiny_data):
    data = open_data(CONFIG, tiny_data)
    assert [s.name for s in data.sources["davis2016"]] == ["a", "b"] and [s.name for s in data.held_out] == ["c"]
    assert data.notes == []


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


def test_the_run_folder_tells_how_it_came_about(tiny_data, tmp_path):
    run(CONFIG, tiny_data, tmp_path, until=2)
    time.sleep(1.1)  # TensorBoard tells its files apart by the second
    reports = run(CONFIG, tiny_data, tmp_path)
    assert RunConfig.parse(json.loads((tmp_path / "config.json").read_text())) == CONFIG
    first, second = json.loads((tmp_path / "starts.json").read_text())
    assert (first["step"], second["step"], first["seed"]) == (0, 2, 0)
    assert first["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert first["data"]["davis2016"]["frames"] == 12 and len(first["data"]["davis2016"]["sha256"]) == 64
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["total"] for line in lines[2:]] == [report.losses["total"] for report in reports]
    assert [line["step"] for line in lines if line.get("validation_loss", 0) > 0] == [3, 6]
    assert [path.name for path in draw_curves(tmp_path)] == ["stage-1.png", "stage-2.png"]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"loss/total", "loss/auxiliary", "held_out/J", "speed/images_per_second"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss/total")] == [1, 2, 3, 4, 5, 6]
    hours = sum(line["seconds"] for line in lines) / 3600  # of both starts
    assert read(tmp_path / "last.safetensors")[2]["hours"] == pytest.approx(hours, abs=1e-3)
    assert events.Tags()["images"] == ["held_out/0", "held_out/1"]


def test_a_run_does_not_go_on_with_other_data(tiny_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    run(CONFIG, data, tmp_path / "run", until=2)
    (data / "davis2016/JPEGImages/480p/a/00005.jpg").unlink()
    with pytest.raises(ConfigError, match="other data"):
        run(CONFIG, data, tmp_path / "run")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return read(folder / "last.safetensors")[0]


def test_a_blend_mixes_the_weights_that_a_stage_began_with_back_in(tiny_data, tmp_path):
    """Those of the network and those of their average, after the stage's last step: a share of 0 is the plain run."""
    plain, blended = tmp_path / "plain", tmp_path / "blended"
    run(changed(), tiny_data, plain)
    run(changed(blend=0.25), tiny_data, blended)
    torch.manual_seed(CONFIG.train.seed)
    before, after = Network(CONFIG.model).state_dict(), tensors(plain)
    found = tensors(blended)
    assert found.keys() == after.keys()  # what the stage began with is needed no longer
    for name, tensor in found.items():
        kind, _, of = name.partition(".")
        expected = after[name]
        if kind in ("model", "ema") and tensor.is_floating_point():
            expected = torch.lerp(before[of], expected, 0.75)
        assert torch.equal(tensor, expected), name
    assert any(not torch.equal(found[name], after[name]) for name in found)
    best = read(blended / "best.safetensors")[0]  # of the same step: it was validated after the blend
    assert all(torch.equal(tensor, found[f"ema.{name}"]) for name, tensor in best.items())


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


def test_an_encoder_without_a_rate_stays_as_it_is(tiny_data, tmp_path):
    def trained(rate: float) -> dict[str, torch.Tensor]:
        run(changed(encoder_rate=rate), tiny_data, tmp_path / str(rate))
        return read(tmp_path / str(rate) / "last.safetensors")[0]

    with_rate, without = trained(1e-3), trained(0)
    name = next(n for n in with_rate if n.startswith("optimizer.encoder."))
    assert name not in without and any(n.startswith("optimizer.decoder.") for n in without)
    torch.manual_seed(CONFIG.train.seed)
    for name, parameter in Network(CONFIG.model).encoder.named_parameters():
        assert torch.equal(without[f"model.encoder.{name}"], parameter)


def test_two_processes_train_as_one(tiny_data, tmp_path):
    """Batch norms of the encoder are trained, too: their statistics are those of the whole batch."""
    config = tmp_path / "tiny.toml"
    config.write_text(TINY.replace("fold_batch_norm = true", "fold_batch_norm = false"))
    arguments = ["-m", "stesa_cli", "train", "--config", config, "--data-root", tiny_data]
    arguments += ["--device", "cpu", "--precision", "fp32", "--workers", "0"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, *arguments, "--run-folder", tmp_path / "two"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 3: held-out J") == 1  # only the main process speaks
    one = run(RunConfig.load(config), tiny_data, tmp_path / "one")
    lines = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    for report, line in zip(one, lines, strict=True):
        assert {name: line[name] for name in report.losses} == pytest.approx(report.losses, rel=1e-5)
    start = json.loads((tmp_path / "two" / "starts.json").read_text())[0]
    assert start["processes"] == 2
    expected, found = (read(tmp_path / name / "last.safetensors")[0] for name in ("one", "two"))
    for name, tensor in expected.items():
        if not name.startswith("optimizer."):
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=5e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_all_that_does_not_fit_is_told_at_once(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    config = changed({"frozen": ("encoder.bakbone",), "held_out": ("c", "d")})
    with pytest.raises(ConfigError) as caught:
        Trainer(config, tiny_data, tmp_path, device="cpu")
    for part in ("'encoder.bakbone'", "a batch of 2 clips cannot be shared by 3 processes", "held-out sequences d"):
        assert part in str(caught.value)


def test_what_is_held_out_can_be_chosen(tiny_data, tmp_path):
    assert [s.name for s in open_data(CONFIG.adapted(held_out="a, b"), tiny_data).held_out] == ["a", "b"]
    shutil.copytree(tiny_data / "stills", tmp_path / "stills")
    alone = CONFIG.adapted(dataset="stills", held_out="none")
    assert open_data(alone, tmp_path).held_out == []
    with pytest.raises(ConfigError, match=r"no DAVIS-2016 here.*held-out sequences c are not there,.* --held-out"):
        open_data(CONFIG.adapted(dataset="stills"), tmp_path)


@pytest.fixture
def odd_data(tiny_data, tmp_path):
    """Frames 3 of the sequence a, which is trained on, and of c, which is held out, break off after their headers."""
    shutil.copytree(tiny_data, tmp_path / "data")
    for name in "ac":
        frame = tmp_path / f"data/davis2016/JPEGImages/480p/{name}/00003.jpg"
        frame.write_bytes(frame.read_bytes()[:1500])
    return tmp_path / "data"


def test_a_run_outlives_files_that_cannot_be_read(odd_data, tmp_path):
    """Each is told once, and a run that goes on sees the clips of one that was not interrupted."""
    config = changed({"held_out": ("b", "c")}, steps=12, sources={"davis2016": 1.0})
    whole = run(config, odd_data, tmp_path / "whole")
    told = [line for report in whole for line in report.unreadable]
    assert sorted(told) == [
        f"{odd_data}/davis2016/JPEGImages/480p/{name}/00003.jpg: cannot be decoded as an image; copy the data again"
        for name in "ac"
    ]
    assert [report.step for report in whole if report.validation] == [3, 6, 9, 12]
    assert all(report.validation.J >= 0 for report in whole if report.validation)
    first = run(config, odd_data, tmp_path / "killed", until=7)
    second = run(config, odd_data, tmp_path / "killed")
    assert [r.losses for r in whole] == [r.losses for r in (*first[:6], *second)]


def test_a_worker_tells_of_files_that_cannot_be_read(odd_data, tmp_path):
    config = changed({"held_out": ()}, steps=8, sources={"davis2016": 1.0})
    reports = list(Trainer(config, odd_data, tmp_path / "run", **PLAIN | {"workers": 1}).run())
    assert sum(len(report.unreadable) for report in reports) == 2 and len(reports) == 8


def test_when_no_held_out_sequence_can_be_read_a_run_ends(odd_data, tmp_path):
    config = changed({"held_out": ("c",)}, sources={"davis2016": 1.0})
    with pytest.raises(InputError, match=r"no held-out sequence can be read; .*c/00003\.jpg"):
        run(config, odd_data, tmp_path / "run")


def test_a_sequence_that_cannot_be_validated_on_is_told_before_the_start(tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    for mask in (tmp_path / "data/davis2016/Annotations/480p/c").iterdir():
        write_mask(mask, np.zeros((64, 96), np.uint8))
    with pytest.raises(ConfigError, match="held-out sequences c are not there, or cannot be validated on"):
        Trainer(CONFIG, tmp_path / "data", tmp_path / "run", **PLAIN)


def test_one_photograph_is_enough(tiny_data, tmp_path):
    reports = run(changed({"held_out": ()}, sources={"stills": 1.0}), tiny_data, tmp_path)
    assert [r.step for r in reports] == [1, 2, 3]


def test_missing_data_names_the_command_that_gets_them(tmp_path):
    with pytest.raises(ConfigError, match="stesa data get davis-2016"):
        open_data(CONFIG, tmp_path)
    assert set(davis.DOWNLOADS.values()) == set(ARCHIVES)


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


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler, such as g++")
def test_a_compiled_network_trains_as_one_that_is_not(tiny_data, tmp_path):
    """Slow the first time (inductor keeps what it compiled): one object and two frames."""
    clip = CLIP.model_copy(update={"length": 2, "objects": 1, "paste": 0.0})
    config = changed({"held_out": ()}, steps=2, sources={"davis2016": 1.0}, clip=clip)
    plain = run(config, tiny_data, tmp_path / "plain")
    trainer = Trainer(config, tiny_data, tmp_path / "compiled", **PLAIN, compiled=True)
    for report, expected in zip(trainer.run(), plain, strict=True):
        assert report.losses == pytest.approx(expected.losses, rel=1e-4)
    assert read(trainer.folder.last)[0].keys() == read(tmp_path / "plain" / "last.safetensors")[0].keys()


def test_stages_are_chosen_by_number():
    assert [stage.steps for stage in CONFIG.adapted(stages="2").stages] == [3]
    assert [stage.steps for stage in CONFIG.adapted(stages="2,1", steps=10).stages] == [5, 5]
    assert [stage.warmup for stage in CONFIG.adapted(steps=12).stages] == [4, 200]
    with pytest.raises(ConfigError, match="from 1 to 2"):
        CONFIG.adapted(stages="3")


def test_impossible_settings_are_refused_together():
    with pytest.raises(ConfigError) as caught:
        RunConfig.parse({"model": {"encodr": "x"}, "stages": [{"steps": 0, "sources": {}, "batch": 3}]})
    assert all(part in str(caught.value) for part in ("model.encodr", "stages.0.steps", "stages.0.sources"))
    with pytest.raises(ConfigError, match="blend: Input should be less than 1"):
        StageConfig.parse({"steps": 1, "sources": {"stills": 1}, "blend": 1})

"""Training: a tiny network on a tiny DAVIS."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stesa_cli import __version__
from stesa_cli.checkpoint import export, load_network, read
from stesa_cli.errors import ConfigError
from stesa_cli.model.network import Network
from stesa_cli.training.config import RunConfig, StageConfig
from stesa_cli.training.plots import draw_curves
from stesa_cli.training.trainer import Trainer

from ..tiny import TINY
from .runs import CLIP, CONFIG, PLAIN, changed, run, tensors


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

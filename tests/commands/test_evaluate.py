"""``stesa evaluate`` as a user runs it, on data sets of a few small frames and on the benchmark's own numbers."""

import json
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from stesa_cli import __version__
from stesa_cli.checkpoint import save
from stesa_cli.cli import app
from stesa_cli.errors import ConfigError, InputError, OutputError
from stesa_cli.evaluation.score_files import read_json
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.masks import read_mask, write_mask
from stesa_cli.model.network import ModelConfig, Network

from ..layouts import davis, predictions, squares, zipped

TRUTH = {name: [squares(t, *ids) for t in range(5)] for name, ids in (("a", (1, 2)), ("b", (1,)))}
SEVEN = ["J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "JF_mean"]


def evaluate(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Options for a split with truth, and masks of it that are 1 pixel off."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STESA_DATA", str(davis(tmp_path / "data" / "DAVIS", 2017, "val", TRUTH).parent))
    wrong = {name: [np.roll(labels, 1, 1) for labels in masks] for name, masks in TRUTH.items()}
    return ["--year", 2017, "--jobs", 1, "--predictions", predictions(tmp_path / "p", wrong)]


@pytest.fixture
def tiny(tmp_path):
    """Weights of a tiny network that nobody trained."""
    torch.manual_seed(0)
    config = ModelConfig(
        encoder="test_efficientnet", skips=(8, 8, 8, 8), hidden=(8, 8, 8, 8), nlb="none", auxiliary=False
    )
    save(tmp_path / "tiny.safetensors", Network(config).state_dict(), config, {})
    return tmp_path / "tiny.safetensors"


def test_masks_of_a_published_method_score_as_the_benchmark_says(data_root, tmp_path):
    official = data_root.parent / "reference/davis2016-official"
    names = ["car-shadow", "bmx-trees"]
    asked = ["--data-root", data_root, "--year", 2016, "--split", "val", "--sequences", ",".join(names), "--jobs", 2]
    evaluate(*asked, "--predictions", official / "rgmp.zip", "--output", tmp_path / "s.json")
    found = json.loads((tmp_path / "s.json").read_text())
    assert list(found) == ["dataset", "year", "split", "global", "sequences"]
    assert (found["dataset"], found["year"], found["split"]) == ("davis", 2016, "val")
    assert list(found["global"]) == SEVEN
    expected = json.loads((official / "rgmp_davis.json").read_text())
    for name in names:
        for letter in "JF":
            np.testing.assert_allclose(
                found["sequences"][name]["objects"]["1"][letter],
                np.array(expected[name][letter], dtype=float),
                rtol=0,
                atol=0.5e-3 + 1e-9,
            )
    means = [np.mean(np.array(expected[name]["J"], dtype=float)) for name in names]
    assert found["global"]["J_mean"] == pytest.approx(np.mean(means), abs=0.5e-3)


def test_scoring_masks_does_not_load_torch(given):
    code = (
        "import sys; from stesa_cli.cli import app\n"
        f"app({['evaluate', *map(str, given)]!r}, standalone_mode=False)\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'matplotlib'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]"] and "global" in result.stderr


def test_everything_that_can_be_written(given, tmp_path):
    asked = [*given, "--output", "s.json", "--csv", "s.csv", "--plots", "plots", "--zip", "s.zip"]
    result = evaluate(*asked)
    found = json.loads((tmp_path / "s.json").read_text())
    assert 0 < found["global"]["J_mean"] < 1 and f"{found['global']['JF_mean']:.3f}" in result.stderr
    assert (tmp_path / "s.csv").read_text().startswith("sequence,object,J_mean")
    assert len(ZipFile(tmp_path / "s.zip").namelist()) == 10
    for name in ("sequences", "over_time", "qualitative"):
        pixels = np.asarray(Image.open(tmp_path / "plots" / f"{name}.png"))
        assert min(pixels.shape[:2]) > 100 and len(np.unique(pixels)) > 10, name
    with pytest.raises(OutputError, match=r"already there: s.json, s.csv, s.zip, plots/sequences.png"):
        evaluate(*asked)
    evaluate(*given, "--output", "s.json", "--overwrite")


def test_two_results_side_by_side(given, tmp_path):
    evaluate(*given, "--output", "one.json")
    predictions(tmp_path / "p", {"a": TRUTH["a"]})
    evaluate(*given, "--output", "other.json", "--sequences", "a")
    said = evaluate("compare", "one.json", "other.json").stderr
    lines = said.splitlines()
    assert "warning: only sequences in both files are compared, not b" in lines
    [row] = [line for line in lines if "│ a " in line]
    before = json.loads((tmp_path / "one.json").read_text())["sequences"]["a"]["J_mean"]
    assert [cell.strip() for cell in row.split("│")][2:5] == [f"{before:.3f}", "1.000", f"{1 - before:+.3f}"]
    note = "warning: --compare is now a command of its own: stesa evaluate compare A.json B.json\n"
    assert evaluate("--compare", "one.json", "other.json").stderr == note + said


def test_scores_that_are_not_alike_are_told_of(given, tmp_path):
    evaluate(*given, "--output", "one.json")
    other = json.loads((tmp_path / "one.json").read_text()) | {"year": 2016}
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert (
        "warning: these are scores of davis 2017 val and of davis 2016 val"
        in evaluate("compare", "one.json", "other.json").stderr
    )
    write_mask(tmp_path / "a.png", TRUTH["a"][0])
    for name, why in (("a.png", "no JSON"), ("empty.json", "KeyError('sequences')")):
        (tmp_path / "empty.json").write_text("{}")
        with pytest.raises(InputError) as caught:
            evaluate("compare", "one.json", name)
        assert str(caught.value).startswith(f"{name}: cannot be read as scores ({why}); give")


def test_the_model_runs_and_is_scored(given, tiny, tmp_path):
    asked = [*given[:4], "--weights", tiny, "--size", 32, "--no-finetune", "--device", "cpu", "--output", "s.json"]
    assert "warning" not in evaluate(*asked).stderr
    masks = tmp_path / "davis-2017-val_stesa"
    assert sorted(str(p.relative_to(masks)) for p in masks.rglob("*.png")) == [
        f"{name}/{t:05d}.png" for name in "ab" for t in range(5)
    ]
    assert (read_mask(masks / "a/00000.png") == TRUTH["a"][0]).all()
    assert read_mask(masks / "a/00004.png").shape == TRUTH["a"][4].shape
    first = json.loads((tmp_path / "s.json").read_text())
    made = {name: first.pop(name) for name in ("version", "weights", "inference")}
    assert made == json.loads((masks / "made.json").read_text())
    assert (made["version"], made["weights"]) == (__version__, str(tiny))
    assert made["inference"].pop("precision") in ("bf16", "fp32")
    expected = InferenceConfig(size=32, finetune=False).model_dump(exclude={"precision"})
    assert made["inference"] == expected
    evaluate(*given[:4], "--predictions", masks, "--output", "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == first  # of masks that are given nothing is known
    assert read_json(tmp_path / "s.json") == read_json(tmp_path / "again.json")


def test_presets_and_what_they_were_called_before(given, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("stesa_cli.inference.finetune.STEPS", 1)

    def made(*options):
        paths = ["--device", "cpu", "--overwrite", "--output", "s.json", "--sequences", "b", "--weights", tiny]
        said = evaluate(*given[:4], *paths, *options).stderr
        found = json.loads((tmp_path / "s.json").read_text())["inference"]
        return [line for line in said.splitlines() if "warning" in line], found

    notes, fast = made("--preset", "fast")
    assert not notes and (fast["size"], fast["max_mem_frames"], fast["finetune"]) == (256, 3, False)
    assert made("--quality", "fast") == (["warning: --quality is now --preset: taken as --preset fast"], fast)
    assert made("--preset", "fast", "--finetune")[1] == fast | {"finetune": True}
    gone = "warning: --quality is now --preset: taken as --preset default, as best, no better than it, is gone"
    off = "warning: --adapt is now --finetune or --no-finetune: taken as --no-finetune"
    notes, found = made("--quality", "best", "--adapt", 0, "--size", 32)
    assert notes == [gone, off]
    assert (found["size"], found["max_mem_frames"], found["finetune"]) == (32, None, False)
    on = "warning: --adapt is now --finetune or --no-finetune: taken as --finetune"
    assert made("--quality", "fast", "--adapt", 20, "--size", 32)[1]["finetune"]
    assert on in made("--adapt", 20, "--size", 32)[0]


def test_a_config_must_be_that_of_the_weights(given, tiny):
    with pytest.raises(ConfigError, match=r"tiny.safetensors: is not of the model of config 'paper/rvos'"):
        evaluate(*given[:4], "--weights", tiny, "--config", "paper/rvos")
    with pytest.raises(ConfigError, match=r"runs/rvos/best.safetensors: no such weights"):
        evaluate(*given[:4], "--config", "paper/rvos")


def test_test_dev_is_predicted_packed_checked_and_resumed(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    davis(tmp_path / "data", 2017, "test-dev", {name: [masks[0], None, None] for name, masks in TRUTH.items()})
    asked = ["--data-root", "data", "--year", 2017, "--split", "test-dev", "--jobs", 1]
    model = ["--weights", tiny, "--preset", "fast", "--size", 32, "--device", "cpu", "--masks-dir", "m"]
    evaluate(*asked, *model)
    fits = "davis-2017-test-dev.zip fits: 2 sequences, 6 masks\n"
    assert evaluate("check", "davis-2017-test-dev.zip", *asked).stderr.endswith(fits)
    said = evaluate(*asked, "--check", "davis-2017-test-dev.zip").stderr
    assert "warning: --check is now a command of its own: stesa evaluate check ZIP" in said and said.endswith(fits)
    with pytest.raises(OutputError, match=r"already there: davis-2017-test-dev.zip, m/a, m/b"):
        evaluate(*asked, *model)
    (tmp_path / "m/b/00002.png").unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "m/a").iterdir()}
    evaluate(*asked, *model, "--resume", "--zip", "s.zip")
    assert (tmp_path / "m/b/00002.png").is_file() and all(p.stat().st_mtime_ns == t for p, t in times.items())
    nested = zipped(tmp_path / "nested.zip", tmp_path / "m", "m/")
    with pytest.raises(InputError, match=r"nested.zip: the server would refuse it"):
        evaluate("check", nested, *asked)
    assert evaluate(*asked, *model, "--output", "s.json").exit_code == 2


def test_contradictions_are_refused_before_any_work(given):
    assert "--masks-dir" in evaluate(*given, "--masks-dir", "m").stderr
    assert evaluate(*given, "--resume").exit_code == 2
    assert evaluate(*given, "--sequences", "a", "--zip", "s.zip").exit_code == 2
    assert "give the options of check after its name" in evaluate("--split", "train", "check", "s.zip").stderr


@pytest.mark.parametrize("command", [[], ["check"], ["compare"]])
def test_help_is_instant_and_tells_of_the_new_names_only(command):
    code = (
        "import sys; from stesa_cli.cli import app\n"
        f"app({['evaluate', *command, '--help']!r}, standalone_mode=False)\n"
        "print(sorted({'torch', 'numpy', 'cv2', 'timm', 'PIL', 'matplotlib'} & sys.modules.keys()))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]" and "Usage" in said
    assert not any(old in said for old in ("--quality", "--adapt", "--check", "--compare"))

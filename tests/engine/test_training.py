"""One true end-to-end of training: a tiny network on a tiny DAVIS, killed, resumed, validated."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from stesa_cli.data.clip import collate
from stesa_cli.data.sampling import ClipConfig, ClipDataset
from stesa_cli.engine.checkpoint import export, load_network, read
from stesa_cli.engine.recipe import RunConfig, open_data
from stesa_cli.engine.training import Trainer
from stesa_cli.errors import ConfigError
from stesa_cli.masks import write_mask

CLIP = {"length": 3, "size": (64, 96), "objects": 2, "max_gap": 2, "paste": 0.5}
CONFIG = RunConfig.parse(
    {
        "model": {
            "encoder": "test_efficientnet",
            "fold_batch_norm": True,
            "skips": (8, 8, 8, 8),
            "hidden": (8, 8, 8, 8),
            "nlb": "res4",
            "auxiliary": True,
            "aggregate": True,
            "memory": {"keys": 8, "values": 8},
        },
        "train": {"imagenet": False, "held_out": ["c"], "validate_every": 3, "checkpoint_every": 2},
        "stages": [
            {"steps": 3, "sources": {"davis2016": 1, "stills": 1}, "clip": CLIP, "warmup": 2},
            {"steps": 3, "sources": {"davis2016": 1}, "clip": CLIP | {"length": 2}, "bootstrap": 0.5},
        ],
    }
)


def picture(at: int, seed: int) -> tuple[Image.Image, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 120, (64, 96, 3), np.uint8)
    labels = np.zeros((64, 96), np.uint8)
    labels[10:40, at : at + 30] = 1
    pixels[labels == 1] += 100
    return Image.fromarray(pixels), labels


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    davis = root / "davis2016"
    for number, name in enumerate("abc"):
        for folder in ("JPEGImages", "Annotations"):
            (davis / folder / "480p" / name).mkdir(parents=True)
        for t in range(6):
            image, labels = picture(5 + 8 * t, number)
            image.save(davis / "JPEGImages" / "480p" / name / f"{t:05d}.jpg")
            write_mask(davis / "Annotations" / "480p" / name / f"{t:05d}.png", labels)
    (davis / "ImageSets" / "2016").mkdir(parents=True)
    (davis / "ImageSets" / "2016" / "train.txt").write_text("a\nb\nc\n")
    (root / "stills" / "set" / "JPEGImages").mkdir(parents=True)
    image, labels = picture(40, 9)
    image.save(root / "stills" / "set" / "JPEGImages" / "one.jpg")
    write_mask(root / "stills" / "set" / "Annotations" / "one.png", labels)
    return root


def run(config: RunConfig, data, folder, until: int | None = None) -> list:
    reports = []
    for report in Trainer(config, data, folder, device="cpu", workers=0).run():
        reports.append(report)
        if report.step == until:
            break  # as a kill: what came after the last checkpoint is lost
    return reports


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(tiny_data, tmp_path):
    whole = run(CONFIG, tiny_data, tmp_path / "whole")
    assert [r.step for r in whole] == [1, 2, 3, 4, 5, 6]
    assert whole[2].validation is not None and 0 <= whole[5].validation <= 1
    first = run(CONFIG, tiny_data, tmp_path / "killed", until=5)
    second = run(CONFIG, tiny_data, tmp_path / "killed")
    assert len(first) == 5 and [r.step for r in second] == [5, 6]  # the checkpoint is of step 4
    assert [r.losses for r in whole] == [r.losses for r in (*first[:4], *second)]
    one, _, info = read(tmp_path / "whole" / "last.safetensors")
    other, _, same = read(tmp_path / "killed" / "last.safetensors")
    assert info == same and one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    lines = [json.loads(line)["step"] for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [1, 2, 3, 4, 5, 6]


def test_training_lowers_the_loss(tiny_data, tmp_path):
    stage = CONFIG.stages[0].model_copy(update={"steps": 60, "sources": {"davis2016": 1.0}, "decoder_rate": 3e-3})
    train = CONFIG.train.model_copy(update={"held_out": ()})
    losses = [
        r.losses["soft_iou"]
        for r in run(CONFIG.model_copy(update={"stages": (stage,), "train": train}), tiny_data, tmp_path)
    ]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_the_best_weights_are_exported_and_loaded(tiny_data, tmp_path):
    run(CONFIG, tiny_data, tmp_path / "run", until=3)
    export(tmp_path / "run" / "best.safetensors", tmp_path / "tiny.safetensors")
    network, info = load_network(tmp_path / "tiny.safetensors")
    assert info["step"] == 3 and info["run"]["train"]["held_out"] == ["c"]
    assert json.loads((tmp_path / "tiny.json").read_text())["held_out_J"] == info["held_out_J"]
    tensors, _, _ = read(tmp_path / "tiny.safetensors")
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}
    assert network.config == CONFIG.model and next(network.parameters()).dtype == torch.float32


def test_another_config_does_not_resume(tiny_data, tmp_path):
    run(CONFIG, tiny_data, tmp_path, until=2)
    with pytest.raises(ConfigError, match="another config"):
        run(CONFIG.adapted(seed=1), tiny_data, tmp_path)


def test_all_missing_data_is_named_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        open_data(CONFIG, tmp_path)
    assert "DAVIS-2016" in str(caught.value) and "stills" in str(caught.value)


def test_held_out_sequences_are_not_trained_on(tiny_data):
    sources, held_out = open_data(CONFIG, tiny_data)
    assert [s.name for s in sources["davis2016"]] == ["a", "b"] and [s.name for s in held_out] == ["c"]


def test_a_clip_is_a_function_of_seed_and_number(tiny_data):
    sources, _ = open_data(CONFIG, tiny_data)
    every = [(1.0, found) for found in sources.values()]

    def clips(seed: int) -> ClipDataset:
        return ClipDataset(every, ClipConfig(**CLIP), seed, 10)

    one, again, other = clips(0)[3], clips(0)[3], clips(1)[3]
    assert torch.equal(one.frames, again.frames) and torch.equal(one.labels, again.labels)
    assert not torch.equal(one.frames, other.frames)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    clips(0)[0]
    assert torch.equal(torch.get_rng_state(), before)


def test_clips_hold_what_they_promise(tiny_data):
    sources, _ = open_data(CONFIG, tiny_data)
    dataset = ClipDataset([(1.0, found) for found in sources.values()], ClipConfig(**CLIP), 0, 30)
    clips = [dataset[i] for i in range(30)]
    for clip in clips:
        assert clip.frames.shape == (3, 3, 64, 96) and clip.frames.dtype == torch.uint8
        assert clip.labels.shape == (3, 64, 96) and clip.labels.dtype == torch.uint8
        assert set(clip.labels[0].unique().tolist()) - {0} == set(range(1, clip.objects + 1))
        assert set(clip.labels.unique().tolist()) <= set(range(clip.objects + 1))
    assert {clip.objects for clip in clips} == {1, 2}
    batch = collate(clips[:8])
    assert batch.valid.sum(1).tolist() == [clip.objects for clip in clips[:8]]

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stesa_cli.config import SHIPPED
from stesa_cli.data.flow import clip_flow
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.refine import assembled, guided_upsampling
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import one_hot
from stesa_cli.model.attention import Memory, MemoryFrame
from stesa_cli.model.network import MemoryConfig, ModelConfig, Network
from stesa_cli.model.state import OFF
from stesa_cli.training.config import RunConfig

TINY = ModelConfig(
    encoder="test_efficientnet", skips=(8, 8, 8, 8), hidden=(8, 8, 8, 8), nlb="none", auxiliary=False, aggregate=True
)
TOGETHER = TINY.model_copy(update={"objects": "together", "memory": MemoryConfig(), "flow": True})
BOTH = pytest.mark.parametrize(
    "config", [TINY.model_copy(update={"memory": MemoryConfig()}), TOGETHER], ids=lambda c: c.objects
)
PAPER = sorted(f"paper/{path.stem}" for path in (SHIPPED / "paper").glob("*.toml"))


def clip(batch: int = 1, length: int = 3, objects: int = 2, size: tuple[int, int] = (64, 96)):
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(batch, length, 3, *size, generator=generator)
    masks = (torch.rand(batch, length, objects, *size, generator=generator) > 0.7).float()
    given = torch.zeros(batch, objects, dtype=torch.long)
    flow = 0.05 * torch.randn(batch, length - 1, 3, size[0] // 2, size[1] // 2, generator=generator)
    return frames, masks, given, torch.zeros(batch, length, dtype=torch.bool), flow


@pytest.mark.parametrize("name", ["stesa", "next", *PAPER])
def test_every_config_runs_forward_and_backward(name):
    config = RunConfig.load(name).model
    network = Network(config).train()
    predictions = network(*clip(batch=2, length=2))
    last = predictions[-1]
    assert last.logits.shape == (2, 3, 32, 48) and last.objects.shape == (2, 2, 32, 48)
    loss = last.logits.sigmoid().mean()
    strides = [{"res3": 8, "res4": 16, "res5": 32, "none": 8}[config.nlb]] if config.auxiliary or config.motion else []
    strides = [32, 16, 8, 4] if config.objects == "together" else strides
    assert [logits.shape for logits in last.auxiliary] == [(2, 2, 64 // s, 96 // s) for s in strides]
    for logits in last.auxiliary:
        loss = loss + logits.sigmoid().mean()
    loss.backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None]
    assert not idle and torch.isfinite(loss)


def test_the_default_is_light():
    parameters = sum(p.numel() for p in Network(RunConfig.load("next").model).parameters())
    assert parameters < 10e6


@BOTH
def test_batched_clips_equal_single_clips(config):
    network = Network(config).eval()
    frames, masks, _, fed, _ = clip(batch=2, length=4)
    for given in ([[0, 0], [0, 0]], [[0, 1], [2, 0]]):
        arguments = frames, masks, torch.tensor(given), fed
        together = network(*arguments)
        alone = [network(*(a[i : i + 1] for a in arguments)) for i in range(2)]
        for every, *each in zip(together, *alone, strict=True):
            torch.testing.assert_close(every.logits, torch.cat([p.logits for p in each]), atol=1e-4, rtol=1e-4)


@BOTH
def test_a_padded_object_changes_nothing(config):
    network = Network(config).eval()
    frames, masks, given, fed, _ = clip(objects=1)
    alone = network(frames, masks, given, fed)[-1].logits
    padded = torch.cat([masks, torch.zeros_like(masks)], 2)
    both = network(frames, padded, torch.tensor([[0, 3]]), fed)[-1].logits
    torch.testing.assert_close(both.softmax(1)[:, :2], alone.softmax(1), atol=1e-4, rtol=1e-4)
    assert both.softmax(1)[:, 2].max() < 1e-6


@pytest.mark.parametrize("changes", [{"aggregate": True}, {"aggregate": False}, {"objects": "together", "motion": 0}])
@pytest.mark.parametrize("entry", [0, 2])
def test_a_clip_in_training_is_what_the_segmenter_sees(changes, entry):
    """Also with an object that enters later, whose motion is that of another group."""
    settings = {"memory": MemoryConfig(mem_every=1), "flow": True, "motion": 4} | changes
    network = Network(TINY.model_copy(update=settings)).eval()
    for skip in network.motion.skips if network.motion else []:
        torch.nn.init.normal_(skip.weight, std=0.1)
    noise = np.random.default_rng(0).integers(0, 255, (70, 110, 3), np.uint8)
    images = np.stack([cv2.GaussianBlur(noise, (0, 0), 2)[t : t + 64, 2 * t : 2 * t + 96] for t in range(5)])
    labels = np.zeros((5, 64, 96), np.uint8)
    labels[:, 10:40, 10:50] = 1
    labels[entry:, 30:60, 40:90] = 2
    masks = one_hot(torch.from_numpy(labels), [1, 2])[None]
    frames = torch.from_numpy(images).permute(0, 3, 1, 2)
    clip = frames[None] / 255, masks, torch.tensor([[0, entry]]), torch.zeros(1, 5, dtype=torch.bool)
    with torch.inference_mode():
        whole = network(*clip, clip_flow(frames)[None])
    config = InferenceConfig(size=64, precision="fp32", suppress_distractors=False)
    segmenter = Segmenter(network, config, "cpu")
    segmenter.start(images[0], labels[0])
    for t, prediction in enumerate(whole, 1):
        new = np.where(labels[t] == 2, 2, 0).astype(np.uint8) if t == entry else None
        found = segmenter.step(images[t], new).probabilities
        if t != entry:
            predicted = prediction.logits.softmax(1)[0, 1:]
            colours = F.avg_pool2d(frames[t] / 255, 2)
            parts = guided_upsampling(predicted[: len(segmenter.ids)], colours, torch.from_numpy(images[t]))
            expected = assembled(parts, torch.zeros(len(segmenter.ids), 64, 96))
            expected /= expected.sum(0).clamp(min=1)
            torch.testing.assert_close(found[1:], expected, atol=1e-4, rtol=1e-4)
            assert predicted[len(segmenter.ids) :].sum() < 1e-3


@BOTH
def test_an_object_that_has_not_entered_changes_nothing(config):
    network = Network(config).eval()
    frames, masks, _, fed, _ = clip(length=4)
    masks[:, :, 1] *= (torch.arange(4) >= 2)[:, None, None]
    alone = network(frames, masks[:, :, :1], torch.tensor([[0]]), fed)
    late = network(frames, masks, torch.tensor([[0, 2]]), fed)
    for t in (0, 1):
        assert torch.equal(late[t].objects[:, :1], alone[t].objects) and late[t].objects[:, 1].max() == OFF
    assert late[2].objects[:, 1].max() > OFF and not torch.equal(late[2].objects[:, :1], alone[2].objects)


@BOTH
def test_the_past_reaches_the_present(config):
    network = Network(config).train()
    frames, masks, given, fed, _ = clip()
    masks.requires_grad_()
    network(frames, masks, given, fed)[-1].logits.sum().backward()
    assert masks.grad[:, 0].abs().sum() > 0 and masks.grad[:, 1:].abs().sum() == 0


def test_truth_is_fed_where_asked():
    network = Network(TINY).eval()
    frames, masks, given, fed, _ = clip()
    other = masks.clone()
    other[:, 1] = 1 - other[:, 1]

    def last(truth: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        return network(frames, truth, given, where)[-1].logits

    assert torch.equal(last(masks, fed), last(other, fed))
    assert not torch.equal(last(masks, ~fed), last(other, ~fed))


@BOTH
def test_flaws_are_handed_on_but_not_predicted(config):
    network = Network(config).eval()
    frames, masks, given, fed, _ = clip()
    flaws = torch.zeros(1, 3, 3, 16, 24)
    plain, none = network(frames, masks, given, fed), network(frames, masks, given, fed, None, flaws)
    for one, other in zip(plain, none, strict=True):
        torch.testing.assert_close(one.logits, other.logits)
    flaws[:, 1, 2, :8] = 1  # the upper half becomes the second object
    one, two = network(frames, masks, given, fed, None, flaws)
    assert torch.equal(one.logits, plain[0].logits) and not torch.allclose(two.logits, plain[1].logits, atol=1e-3)
    rough = network(frames, masks, given, fed, None, flaws.roll(-1, 1))  # a prompt that is flawed
    assert not torch.allclose(rough[0].logits, plain[0].logits, atol=1e-3)


def test_memory_keeps_the_first_the_newest_and_every_nth():
    entry = MemoryFrame(0, torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, 1))
    memory, seen = Memory(mem_every=3, max_mem_frames=3), []
    for index in range(14):
        memory = memory.write(replace(entry, index=index))
        seen.append([e.index for e in memory.frames])
    assert seen[0] == [0] and seen[2] == [0, 2] and seen[4] == [0, 3, 4] and seen[8] == [0, 3, 6, 8]
    assert seen[13] == [0, 9, 12, 13]
    assert max(map(len, seen)) == 4


def test_the_order_of_objects_changes_nothing():
    network = Network(TOGETHER).eval()
    frames, masks, given, fed, flow = clip(objects=3)
    turned = [2, 0, 1]
    one, other = (
        network(frames, masks, given, fed, flow)[-1],
        network(frames, masks[:, :, turned], given, fed, flow)[-1],
    )
    torch.testing.assert_close(other.objects, one.objects[:, turned], atol=1e-5, rtol=1e-4)
    alone = network(frames, masks[:, :, :1], given[:, :1], fed, flow)[-1]
    assert not torch.allclose(alone.objects, one.objects[:, :1], atol=1e-4)  # they do see each other


def test_settings_that_do_not_go_together():
    with pytest.raises(ValueError, match="together"):
        ModelConfig(objects="together", nlb="none", auxiliary=False)
    with pytest.raises(ValueError, match="auxiliary"):
        ModelConfig(nlb="none", auxiliary=True)
    with pytest.raises(ValueError, match="recurrence"):
        ModelConfig(recurrence="lstm", reset_gates=2)

from dataclasses import replace

import pytest
import torch

from stesa_cli.config import SHIPPED
from stesa_cli.engine.recipe import RunConfig
from stesa_cli.model.attention import Entry, Memory
from stesa_cli.model.decoder import reduce
from stesa_cli.model.network import MemoryConfig, ModelConfig, Network

TINY = ModelConfig(
    encoder="test_efficientnet", skips=(8, 8, 8, 8), hidden=(8, 8, 8, 8), nlb="none", auxiliary=False, aggregate=True
)
PAPER = sorted(f"paper/{path.stem}" for path in (SHIPPED / "paper").glob("*.toml"))


def clip(batch: int = 1, length: int = 3, objects: int = 2, size: tuple[int, int] = (64, 96)):
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(batch, length, 3, *size, generator=generator)
    masks = (torch.rand(batch, length, objects, *size, generator=generator) > 0.7).float()
    return frames, masks, torch.ones(batch, objects, dtype=torch.bool), torch.zeros(batch, length, dtype=torch.bool)


@pytest.mark.parametrize("name", ["stesa", *PAPER])
def test_every_config_runs_forward_and_backward(name):
    config = RunConfig.load(name).model
    network = Network(config).train()
    predictions = network(*clip(batch=2, length=2))
    last = predictions[-1]
    assert last.logits.shape == (2, 3, 32, 48) and last.objects.shape == (2, 2, 32, 48)
    loss = last.logits.sigmoid().mean()
    if config.auxiliary:
        stride = {"res3": 8, "res4": 16, "res5": 32}[config.nlb]
        assert last.auxiliary.shape == (2, 2, 64 // stride, 96 // stride)
        loss = loss + last.auxiliary.sigmoid().mean()
    loss.backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None]
    assert not idle and torch.isfinite(loss)


def test_the_default_is_light():
    parameters = sum(p.numel() for p in Network(RunConfig.load("stesa").model).parameters())
    assert parameters < 10e6


def test_batched_clips_equal_single_clips():
    network = Network(TINY.model_copy(update={"memory": MemoryConfig()})).eval()
    arguments = clip(batch=2)
    together = network(*arguments)[-1].logits
    alone = torch.cat([network(*(a[i : i + 1] for a in arguments))[-1].logits for i in range(2)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_a_padded_object_changes_nothing():
    network = Network(TINY.model_copy(update={"memory": MemoryConfig()})).eval()
    frames, masks, valid, fed = clip(objects=1)
    alone = network(frames, masks, valid, fed)[-1].logits
    padded = torch.cat([masks, torch.zeros_like(masks)], 2)
    both = network(frames, padded, torch.tensor([[True, False]]), fed)[-1].logits
    torch.testing.assert_close(both.softmax(1)[:, :2], alone.softmax(1), atol=1e-4, rtol=1e-4)
    assert both.softmax(1)[:, 2].max() < 1e-6


def test_stepping_equals_the_whole_clip():
    network = Network(TINY.model_copy(update={"memory": MemoryConfig(every=1)})).eval()
    frames, masks, valid, fed = clip()
    whole = network(frames, masks, valid, fed)
    prediction, state = network.start(network.encode(frames[:, 0]), reduce(masks[:, 0], 2, "area"))
    steps = [prediction]
    for t in (1, 2):
        prediction, state = network.step(network.encode(frames[:, t]), state)
        steps.append(prediction)
    for one, other in zip(whole, steps, strict=True):
        torch.testing.assert_close(one.logits, other.logits, atol=1e-4, rtol=1e-4)


def test_the_past_reaches_the_present():
    network = Network(TINY.model_copy(update={"memory": MemoryConfig()})).train()
    frames, masks, valid, fed = clip()
    masks.requires_grad_()
    network(frames, masks, valid, fed)[-1].logits.sum().backward()
    assert masks.grad[:, 0].abs().sum() > 0 and masks.grad[:, 1:].abs().sum() == 0


def test_truth_is_fed_where_asked():
    network = Network(TINY).eval()
    frames, masks, valid, fed = clip()
    other = masks.clone()
    other[:, 1] = 1 - other[:, 1]

    def last(truth: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        return network(frames, truth, valid, where)[-1].logits

    assert torch.equal(last(masks, fed), last(other, fed))
    assert not torch.equal(last(masks, ~fed), last(other, ~fed))


def test_memory_keeps_the_first_the_newest_and_every_nth():
    entry = Entry(0, torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, 1))
    memory, seen = Memory(every=3, size=3), []
    for index in range(14):
        memory = memory.write(replace(entry, index=index))
        seen.append([e.index for e in memory.entries])
    assert seen[0] == [0] and seen[2] == [0, 2] and seen[4] == [0, 3, 4] and seen[8] == [0, 3, 6, 8]
    assert seen[13] == [0, 9, 12, 13]
    assert max(map(len, seen)) == 4


def test_settings_that_do_not_go_together():
    with pytest.raises(ValueError, match="auxiliary"):
        ModelConfig(nlb="none", auxiliary=True)
    with pytest.raises(ValueError, match="recurrence"):
        ModelConfig(recurrence="lstm", reset_gates=2)

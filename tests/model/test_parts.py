"""The parts of the network against their equations, written out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from stesa_cli.errors import ConfigError
from stesa_cli.model.attention import Memory, MemoryFrame, NonLocalBlock, SpaceTimeNonLocalBlock
from stesa_cli.model.efficientnet_lite import SCALES
from stesa_cli.model.encoder import STRIDES, Encoder, fold_batch_norm
from stesa_cli.model.losses import bootstrapped_cross_entropy, soft_iou_loss
from stesa_cli.model.recurrence import ConvGRU, ConvLSTM

torch.manual_seed(0)
X, S, T = torch.randn(2, 3, 5, 6), torch.randn(2, 4, 5, 6), torch.randn(2, 4, 5, 6)


def conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    return F.conv2d(x, weight, bias, padding=1)


@pytest.mark.parametrize("resets", [1, 2])
def test_conv_gru_of_the_paper(resets):
    cell = ConvGRU(3, 4, reset_gates=resets)
    weights, biases = cell.of_input.weight.split(4), cell.of_input.bias.split(4)
    of_states = cell.of_states.weight.split(4)
    states = torch.cat([S, T], 1)
    gates = [
        torch.sigmoid(conv(X, w, b) + conv(states, v)) for w, b, v in zip(weights, biases, of_states, strict=False)
    ]
    current = torch.sigmoid(conv(X, weights[-1], biases[-1]))  # eq 6
    update, *r = gates
    remembered = r[0] * (S + T) if resets == 1 else r[0] * S + r[1] * T  # eq 7
    candidate = torch.tanh(current + remembered)  # eq 8
    expected = update * S + (1 - update) * candidate  # eq 9
    assert_close(cell(X, S, T, None)[0], expected)


def test_conv_gru_of_the_default_model():
    cell = ConvGRU(3, 4, states="sum", candidate="linear", carry="temporal")
    update, reset, current = conv(X, cell.of_input.weight, cell.of_input.bias).split(4, 1)
    more = conv(S + T, cell.of_states.weight).split(4, 1)
    update, reset = torch.sigmoid(update + more[0]), torch.sigmoid(reset + more[1])
    expected = update * T + (1 - update) * torch.tanh(current + reset * (S + T))
    assert_close(cell(X, S, T, None)[0], expected)


def test_conv_lstm_carries_its_cell_from_object_to_object():
    cell = ConvLSTM(3, 4)
    keep, write, out, new = cell.gates(torch.cat([X, S, T], 1)).chunk(4, 1)
    before = torch.randn(2, 4, 5, 6)
    expected = torch.sigmoid(keep) * before + torch.sigmoid(write) * torch.tanh(new)
    hidden, after = cell(X, S, T, before)
    assert_close(after, expected)
    assert_close(hidden, torch.sigmoid(out) * torch.tanh(expected))


@pytest.mark.parametrize("pairwise", ["gaussian", "embedded", "dot"])
def test_non_local_block(pairwise):
    block = NonLocalBlock(4, pairwise).eval()
    x = torch.randn(1, 4, 3, 5)
    assert_close(block(x), x)  # a new block is the identity
    torch.nn.init.ones_(block.out[1].weight)
    theta, phi, g = (part(x).flatten(2)[0] for part in (block.theta, block.phi, block.g))
    affinity = theta.T @ phi
    affinity = affinity / 15 if pairwise == "dot" else affinity.softmax(1)
    assert_close(block(x), x + block.out((g @ affinity.T).view(1, 2, 3, 5)), atol=1e-5, rtol=1e-4)


def test_reading_the_memory_is_attention_over_all_positions():
    block = SpaceTimeNonLocalBlock(6, keys=4, values=3, temperature_scale=1.5).eval()
    features, masks = torch.randn(1, 6, 2, 3), torch.rand(1, 2, 8, 12)
    memory = Memory(1, 3)
    for index in range(3):
        memory = memory.write(
            MemoryFrame(index, block.key(features + index), block.value(features + index, masks, masks.flip(1)))
        )
    keys, values = (torch.cat([getattr(e, part) for e in memory.frames], 1)[0] for part in ("key", "value"))
    looks = F.normalize(block.to_key(features)[0], dim=0).flatten(1).T
    # centres of the positions, in heights of the frame
    places = torch.tensor([[y / 2, x / 2] for y in range(2) for x in range(3)])
    away = torch.cdist(places, places).square().repeat(1, 3) * torch.tensor([2.0, 2.0, 16.0]).repeat_interleave(6)
    affinity = (1.5 * block.log_temperature.exp() * looks @ keys[:, :4].T - away).softmax(1)
    expected = torch.stack([affinity @ of for of in values.unbind(1)], 1)[None]
    assert_close(block.readout(block.key(features), *memory.gathered()), expected, atol=1e-5, rtol=1e-4)
    assert expected.shape == (1, 6, 2, 3 + 16)


def test_a_sharp_memory_returns_the_fine_shape_of_the_mask():
    block = SpaceTimeNonLocalBlock(6, keys=4, values=3)
    block.log_temperature.data.fill_(math.log(1e4))
    features, masks = torch.randn(1, 6, 2, 3), (torch.rand(1, 2, 8, 12) > 0.5).float()
    key = block.key(features)
    memory = Memory(1, 3).write(MemoryFrame(0, key, block.value(features, masks, masks)))
    fine = block.readout(key, *memory.gathered())[0, :, :, 3:].permute(1, 2, 0).unflatten(-1, (2, 3))
    assert_close(F.pixel_shuffle(fine, 4)[:, 0], masks[0])


@pytest.mark.parametrize("name", ["test_efficientnet", "resnet10t", "tf_efficientnet_lite0"])
def test_folding_batch_norms_keeps_the_features(name):
    encoder = Encoder(name).train()
    encoder(torch.rand(4, 3, 64, 64))  # moves the running statistics off their start
    image = torch.rand(1, 3, 64, 96)
    before = encoder.eval()(image)
    assert [f.shape[-2:] for f in before] == [torch.Size((64 // s, 96 // s)) for s in STRIDES]
    fold_batch_norm(encoder)
    assert not [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for one, other in zip(before, encoder(image), strict=True):
        assert_close(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", SCALES)
def test_the_shipped_encoder_is_that_of_timm_with_its_batch_norms_folded(name):
    folded = Encoder(name, fold=True, fine=True)
    assert not any("batch" in type(m).__name__.lower() for m in folded.modules())
    encoder = Encoder(name, fine=True).train()
    encoder(torch.rand(4, 3, 64, 64))  # moves the running statistics off their start
    fold_batch_norm(encoder.eval())
    folded.load_state_dict(encoder.state_dict())
    image = torch.rand(2, 3, 64, 96)
    assert folded.channels == encoder.channels
    for one, other in zip(folded(image), encoder(image), strict=True):
        assert_close(one, other)


def test_unknown_encoders_are_named():
    with pytest.raises(ConfigError, match="no_such_net"):
        Encoder("no_such_net")


def test_soft_iou_loss_by_hand():
    p = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]], requires_grad=True)
    truth = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    both, first = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    assert soft_iou_loss(p, truth, first).item() == pytest.approx(1 - 2.5 / 3)
    assert soft_iou_loss(p, truth, both).item() == pytest.approx((1 - 2.5 / 3) / 2)
    soft_iou_loss(p, truth, both).backward()
    assert p.grad[0, 1].abs().min() > 0  # an absent object learns to switch off


def test_bootstrapping_counts_the_hardest_pixels_and_no_void():
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0] = torch.tensor([[4.0, 3.0, 2.0, -50.0]])
    labels = torch.tensor([[[0, 0, 0, 255]]])
    each = F.cross_entropy(logits[..., :3], labels[..., :3], reduction="none")[0, 0]
    assert bootstrapped_cross_entropy(logits, labels, 0.25).item() == pytest.approx(each[2].item())
    assert bootstrapped_cross_entropy(logits, labels, 1.0).item() == pytest.approx(each.sum().item() / 4)

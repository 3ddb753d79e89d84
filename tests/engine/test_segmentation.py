import numpy as np
import pytest
import torch

from stesa_cli.engine.checkpoint import load_network, read, save
from stesa_cli.engine.segmentation import Segmenter
from stesa_cli.errors import ConfigError, InputError
from stesa_cli.model.network import MemoryConfig, ModelConfig, Network

MODEL = ModelConfig(
    encoder="test_efficientnet",
    skips=(8, 8, 8, 8),
    hidden=(8, 8, 8, 8),
    nlb="none",
    auxiliary=False,
    aggregate=True,
    memory=MemoryConfig(every=2, size=2),
)
IMAGE = np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8)
LABELS = np.zeros((90, 150), np.uint8)
LABELS[10:50, 20:60] = 3
LABELS[40:80, 90:140] = 7


@pytest.fixture
def segmenter():
    torch.manual_seed(0)
    return Segmenter(Network(MODEL), size=64, device="cpu")


def test_probabilities_have_the_size_of_the_frame_and_sum_to_one(segmenter):
    given = segmenter.start(IMAGE, LABELS)
    assert segmenter.ids == [3, 7] and given.shape == (3, 90, 150)
    assert (given[1].numpy() == (LABELS == 3)).all() and (given[0].numpy() == (LABELS == 0)).all()
    for _ in range(3):
        probabilities = segmenter.step(IMAGE)
        assert probabilities.shape == (3, 90, 150) and probabilities.min() >= 0
        torch.testing.assert_close(probabilities.sum(0), torch.ones(90, 150))


def test_memory_does_not_grow(segmenter):
    segmenter.start(IMAGE, LABELS)
    sizes = []
    for _ in range(9):
        segmenter.step(IMAGE)
        sizes.append(len(segmenter._groups[0].state.memory.entries))
    assert max(sizes) == 3 and sizes[-1] <= 3


def test_frames_are_reduced_to_size_and_never_enlarged(segmenter):
    seen = []
    encode = segmenter.network.encode
    segmenter.network.encode = lambda images: (seen.append(tuple(images.shape[2:])), encode(images))[1]
    segmenter.start(IMAGE, LABELS)
    segmenter.size = 480
    segmenter.start(IMAGE, LABELS)
    assert seen == [(64, 96), (96, 160)]  # multiples of 32 next to 64×107 and 90×150


def test_void_is_no_object_and_a_new_start_forgets(segmenter):
    labels = LABELS.copy()
    labels[0, 0] = 255
    segmenter.start(IMAGE, labels)
    assert segmenter.ids == [3, 7]
    first = segmenter.step(IMAGE)
    segmenter.step(IMAGE)
    segmenter.start(IMAGE, labels)
    assert torch.equal(segmenter.step(IMAGE), first)


def test_objects_may_enter_later_and_be_corrected(segmenter):
    first, second = np.where(LABELS == 3, LABELS, 0), np.where(LABELS == 7, LABELS, 0)
    assert (segmenter.start(IMAGE, first)[1].numpy() == (first == 3)).all() and segmenter.ids == [3]
    segmenter.step(IMAGE)
    entered = segmenter.step(IMAGE, second)
    assert segmenter.ids == [3, 7] and entered.shape == (3, 90, 150)
    assert (entered[2].numpy() == (second == 7)).all() and entered[1][second == 7].max() == 0
    torch.testing.assert_close(entered.sum(0), torch.ones(90, 150))
    probabilities = segmenter.step(IMAGE)
    torch.testing.assert_close(probabilities.sum(0), torch.ones(90, 150))
    corrected = segmenter.step(IMAGE, first)
    assert (corrected[1].numpy() == (first == 3)).all() and segmenter.ids == [3, 7]
    torch.testing.assert_close(corrected.sum(0), torch.ones(90, 150))
    assert not torch.equal(segmenter.step(IMAGE), probabilities)


def test_bad_masks(segmenter):
    with pytest.raises(InputError, match="the mask is 10×20, the frame 150×90"):
        segmenter.start(IMAGE, np.ones((20, 10), np.uint8))
    with pytest.raises(InputError, match="no object"):
        segmenter.start(IMAGE, np.zeros((90, 150), np.uint8))


def test_checkpoints_are_strict(tmp_path):
    network = Network(MODEL)
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

import numpy as np
import pytest
import torch

from stesa_cli.checkpoint import load_network, read, save
from stesa_cli.errors import ConfigError, InputError, StesaError
from stesa_cli.inference.segmenter import Segmenter, View

from ..networks import MODEL, tiny_network

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8)
LABELS = np.zeros((90, 150), np.uint8)
LABELS[10:50, 20:60] = 3
LABELS[40:80, 90:140] = 7


@pytest.fixture
def segmenter():
    return Segmenter(tiny_network(), size=64, device="cpu")


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
        sizes.append(len(segmenter._groups[0].states[0].memory.entries))
    assert max(sizes) == 3 and sizes[-1] <= 3


def test_frames_are_reduced_or_enlarged_to_size(segmenter):
    seen = []
    encode = segmenter.network.encode
    segmenter.network.encode = lambda images: (seen.append(tuple(images.shape[2:])), encode(images))[1]
    segmenter.start(IMAGE, LABELS)
    for size in 128, 480:
        segmenter.views = [View(size)]
        segmenter.start(IMAGE, LABELS)
    assert seen == [(64, 96), (128, 224), (192, 288)]  # multiples of 32 next to 64×107, 128×213 and twice 90×150


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


def test_going_on_from_a_file_is_the_same_to_the_bit(segmenter, tmp_path):
    segmenter.start(IMAGE, LABELS)
    for _ in range(3):
        segmenter.step(IMAGE)
    segmenter.save(tmp_path / "state.pt")
    expected = [segmenter.step(IMAGE) for _ in range(4)]
    other = Segmenter(tiny_network(), size=64, device="cpu")
    other.restore(tmp_path / "state.pt")
    assert other.ids == [3, 7] and all(torch.equal(other.step(IMAGE), e) for e in expected)
    (tmp_path / "state.pt").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"state.pt: cannot be read; begin anew"):
        other.restore(tmp_path / "state.pt")


def test_views_are_averaged_and_mirrored_back(segmenter):
    plain = run(segmenter, IMAGE)
    segmenter.views = [View(64), View(64)]
    torch.testing.assert_close(run(segmenter, IMAGE), plain, atol=1e-4, rtol=1e-3)
    segmenter.views = [View(64), View(64, flip=True)]
    both = run(segmenter, IMAGE)
    assert not torch.allclose(both, plain, atol=1e-4)
    # a pair of views that are each other's mirror does not care which way round the video is
    mirrored = run(segmenter, IMAGE[:, ::-1].copy(), LABELS[:, ::-1].copy()).flip(-1)
    torch.testing.assert_close(mirrored, both, atol=1e-3, rtol=1e-3)
    segmenter.views = [View(96), View(64)]
    assert run(segmenter, IMAGE).shape == plain.shape


def run(segmenter, image, labels=LABELS):
    segmenter.start(image, labels)
    return [segmenter.step(image) for _ in range(3)][-1]


def test_many_objects_go_through_in_chunks(segmenter, monkeypatch):
    labels = np.zeros((90, 150), np.uint8)
    for i in range(40):
        labels[2 * i : 2 * i + 2] = i + 1
    network, decoded, sought = segmenter.network, [], []
    decode, flow = network.decode, network.flow

    def seen_decode(features, state, flow=None):
        decoded.append(state.masks.shape[1])
        return decode(features, state, flow)

    monkeypatch.setattr(network, "decode", seen_decode)
    monkeypatch.setattr(network, "flow", lambda *each: (sought.append(each), flow(*each))[1])
    segmenter.start(IMAGE, labels)
    decoded.clear()
    probabilities = segmenter.step(IMAGE)
    assert decoded == [16, 16, 8] and len(sought) == 1 and segmenter.ids == list(range(1, 41))
    torch.testing.assert_close(probabilities.sum(0), torch.ones(90, 150))


def test_a_gpu_out_of_memory_halves_the_memory_then_says_so(segmenter, monkeypatch):
    segmenter.remembered = 6
    segmenter.start(IMAGE, LABELS)
    read = segmenter.network.memory.read

    def limited(key, memory):
        if memory.size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read(key, memory)

    monkeypatch.setattr(segmenter.network.memory, "read", limited)
    room = 2
    for _ in range(8):
        segmenter.step(IMAGE)
    assert segmenter.remembered == 1 and len(segmenter._groups[0].states[0].memory.entries) == 2
    room = 0
    with pytest.raises(StesaError, match=r"too little memory.*--size 32, or --device cpu"):
        segmenter.step(IMAGE)


def test_bad_masks(segmenter):
    with pytest.raises(InputError, match="the mask is 10×20, the frame 150×90"):
        segmenter.start(IMAGE, np.ones((20, 10), np.uint8))
    with pytest.raises(InputError, match="no object"):
        segmenter.start(IMAGE, np.zeros((90, 150), np.uint8))


def test_checkpoints_are_strict(tmp_path):
    network = tiny_network()
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

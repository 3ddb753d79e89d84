import numpy as np
import pytest
import torch

from stesa_cli.errors import InputError, StesaError
from stesa_cli.inference import finetune, frame, result
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.model.attention import Memory
from stesa_cli.video.reading import Frame

from ..networks import tiny_network

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8)
LABELS = np.zeros((90, 150), np.uint8)
LABELS[10:50, 20:60] = 3
LABELS[40:80, 90:140] = 7


def segmenter_of(device: str, **options) -> Segmenter:
    return Segmenter(tiny_network(), InferenceConfig(**({"size": 64, "precision": "fp32"} | options)), device)


@pytest.fixture
def segmenter(device):
    return segmenter_of(device)


def sums_to_one(probabilities: torch.Tensor) -> bool:
    return torch.allclose(probabilities.sum(0).cpu(), torch.ones(90, 150), atol=1e-5)


def test_results_have_the_size_of_the_frame(segmenter):
    prompted = segmenter.start(IMAGE, LABELS)
    assert segmenter.ids == prompted.ids == (3, 7) and prompted.probabilities.shape == (3, 90, 150)
    assert (prompted.labels == LABELS).all() and (prompted.confidence == 255).all() and prompted.image is IMAGE
    for index in range(1, 4):
        result = segmenter.step(IMAGE)
        assert result.index == index and result.probabilities.shape == (3, 90, 150)
        assert result.probabilities.min() >= 0 and sums_to_one(result.probabilities)
        best = result.probabilities.cpu().max(0)
        assert (result.labels == np.array([0, 3, 7])[best.indices.numpy()]).all()
        assert np.abs(result.confidence - 255 * best.values.numpy()).max() <= 0.51


@pytest.mark.parametrize("switch", ["crop", "suppress_distractors", "refine", "finetune"])
def test_each_step_may_be_switched_off(device, switch):
    segmenter = segmenter_of(device, **{switch: False})
    assert (segmenter.step(IMAGE, LABELS).labels == LABELS).all()
    entered = np.zeros_like(LABELS)
    entered[60:80, 20:60] = 9
    assert (segmenter.step(IMAGE, entered).labels[60:80, 20:60] == 9).all()
    assert sums_to_one(segmenter.step(IMAGE).probabilities) and segmenter.ids == (3, 7, 9)


def test_memory_does_not_grow(segmenter):
    segmenter.start(IMAGE, LABELS)
    sizes = []
    for _ in range(9):
        segmenter.step(IMAGE)
        sizes.append(len(segmenter._track.groups[0].state.memory.frames))
    assert max(sizes) == 3 and sizes[-1] <= 3


def test_frames_are_reduced_or_enlarged_to_size(segmenter):
    seen = []
    encode = segmenter.network.encode
    segmenter.network.encode = lambda images: (seen.append(tuple(images.shape[2:])), encode(images))[1]
    segmenter.start(IMAGE, LABELS)
    for size in 128, 480:
        segmenter.config = segmenter.config.model_copy(update={"size": size})
        segmenter.start(IMAGE, LABELS)
    assert seen == [(64, 96), (128, 224), (192, 288)]  # multiples of 32 next to 64×107, 128×213 and twice 90×150


def test_void_is_no_object_and_a_new_start_forgets(segmenter):
    labels = LABELS.copy()
    labels[0, 0] = 255
    segmenter.start(IMAGE, labels)
    assert segmenter.ids == (3, 7)
    first = segmenter.step(IMAGE)
    segmenter.step(IMAGE)
    segmenter.start(IMAGE, labels)
    assert (segmenter.step(IMAGE).labels == first.labels).all()


def test_objects_may_enter_later_and_be_corrected(segmenter):
    first, second = np.where(LABELS == 3, LABELS, 0), np.where(LABELS == 7, LABELS, 0)
    assert (segmenter.start(IMAGE, first).labels == first).all() and segmenter.ids == (3,)
    segmenter.step(IMAGE)
    entered = segmenter.step(IMAGE, second)
    assert segmenter.ids == (3, 7) and entered.probabilities.shape == (3, 90, 150)
    assert (entered.labels[second == 7] == 7).all() and not (entered.labels[second == 0] == 7).any()
    assert sums_to_one(entered.probabilities)
    before = segmenter.step(IMAGE)
    assert sums_to_one(before.probabilities)
    corrected = segmenter.step(IMAGE, first)
    assert (corrected.probabilities[1].cpu().numpy() == (first == 3)).all() and segmenter.ids == (3, 7)
    assert sums_to_one(corrected.probabilities)
    assert not torch.equal(segmenter.step(IMAGE).probabilities, before.probabilities)


def test_going_on_from_a_file_is_the_same(segmenter, tmp_path, device):
    segmenter.start(IMAGE, LABELS)
    for _ in range(3):
        segmenter.step(IMAGE)
    segmenter.save(tmp_path / "state.pt", {"turn": 3})
    expected = [segmenter.step(IMAGE).probabilities for _ in range(4)]
    other = segmenter_of(device)
    assert other.restore(tmp_path / "state.pt") == {"turn": 3} and other.ids == (3, 7)
    for each in expected:
        found = other.step(IMAGE).probabilities
        assert torch.equal(found, each) if device == "cpu" else torch.allclose(found, each, atol=1e-3)
    (tmp_path / "state.pt").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"state.pt: cannot be read; begin anew"):
        other.restore(tmp_path / "state.pt")


def test_what_the_flow_compares_stays_on_the_host(segmenter, tmp_path):
    """Whatever device the rest goes to: here to one that holds no numbers."""
    segmenter.start(IMAGE, LABELS)
    segmenter.save(tmp_path / "state.pt")
    segmenter.device = torch.device("meta")
    segmenter.restore(tmp_path / "state.pt")
    track = segmenter._track
    assert track.groups[0].state.masks.is_meta and isinstance(track.last, np.ndarray) and track.last.shape == (90, 150)


def test_a_mirrored_or_read_only_array_is_a_frame_too(segmenter, recwarn):
    image, labels = IMAGE[:, ::-1].copy(), LABELS[:, ::-1].copy()
    expected = [segmenter.start(image, labels), segmenter.step(image)]
    mirrored, prompt = IMAGE[:, ::-1], LABELS[:, ::-1]
    for each in (mirrored, prompt):
        each.flags.writeable = False
    found = [segmenter.start(mirrored, prompt), segmenter.step(mirrored)]
    assert all((a.labels == b.labels).all() for a, b in zip(found, expected, strict=True)) and not recwarn.list
    segmenter.finetune(mirrored, prompt)
    assert not recwarn.list


@pytest.mark.parametrize(("where", "step"), [(result, "guided_upsampling"), (frame, "_advanced")])
def test_a_step_that_fails_leaves_the_segmenter_as_it_was(segmenter, monkeypatch, where, step):
    segmenter.start(IMAGE, LABELS)
    segmenter.step(IMAGE)
    before = segmenter._track

    def fail(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
        broken.setattr(where, step, fail)
        segmenter.step(IMAGE[::-1], np.where(LABELS == 3, 9, 0).astype(np.uint8))
    assert segmenter._track is before and segmenter.ids == (3, 7)
    after = segmenter.step(IMAGE)
    segmenter._track = before
    assert (segmenter.step(IMAGE).labels == after.labels).all() and after.index == 2


def video(count: int) -> list[Frame]:
    return [Frame(np.roll(IMAGE, 3 * i, 1), i, i / 24) for i in range(count)]


def test_propagating_is_before_at_and_after_the_first_prompt(segmenter):
    segmenter.config = InferenceConfig(size=64, precision="fp32", finetune=False)
    prompts = {2: LABELS, 4: np.where(LABELS == 3, 9, 0).astype(np.uint8)}
    found = list(segmenter.propagate(video(6), prompts))
    assert [(r.index, r.time, r.ids) for r in found] == [
        (i, i / 24, ids) for i, ids in enumerate([(), (), (3, 7), (3, 7), (3, 7, 9), (3, 7, 9)])
    ]
    assert not found[1].labels.any() and (found[2].labels == LABELS).all() and found[1].probabilities.min() == 1
    segmenter.reset()
    assert segmenter.ids == ()
    asked = list(segmenter.propagate(video(6), lambda frame: prompts.get(frame.index)))
    assert all((a.labels == b.labels).all() for a, b in zip(found, asked, strict=True))


def test_a_video_is_finetuned_once_and_a_new_one_anew(segmenter, monkeypatch):
    monkeypatch.setattr(finetune, "STEPS", 2)
    monkeypatch.setattr(finetune, "RATE", 0.05)  # these weights, made by chance, must change much
    loaded, heard = segmenter.network, []
    weights = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}

    def propagate() -> list[np.ndarray]:
        results = segmenter.propagate(video(3), {0: LABELS}, lambda done, of: heard.append((done, of)))
        return [result.labels for result in results]

    found = propagate()
    assert heard == [(0, 2), (1, 2), (2, 2)] and segmenter.network is not loaded
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.state_dict().items())
    assert list(segmenter.propagate(video(2), {})) and len(heard) == 3, "it goes on"
    segmenter.reset(keep_finetuned=True)
    again = propagate()
    assert len(heard) == 3 and all((a == b).all() for a, b in zip(found, again, strict=True))
    segmenter.reset()
    assert segmenter.network is loaded
    propagate()
    assert len(heard) == 6


def test_finetuning_takes_smaller_clips_when_the_gpu_is_too_small(segmenter, monkeypatch):
    asked = []

    def limited(network, image, labels, precision, size, on_step):
        asked.append(size)
        if size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {}

    monkeypatch.setattr(finetune, "finetune", limited)
    room = 200
    segmenter.finetune(IMAGE, LABELS)
    assert asked == [320, 160]
    room = 0
    with pytest.raises(StesaError, match=r"too little memory for finetuning; use --no-finetune"):
        segmenter.finetune(IMAGE, LABELS)


def test_many_objects_go_through_in_chunks(segmenter, monkeypatch):
    labels = np.zeros((90, 150), np.uint8)
    for i in range(40):
        labels[2 * i : 2 * i + 2] = i + 1
    network, decoded, sought = segmenter.network, [], []
    decode, flow = network.decode, frame.optical_flow

    def seen_decode(features, state, to_last=None):
        decoded.append(state.masks.shape[1])
        return decode(features, state, to_last)

    monkeypatch.setattr(network, "decode", seen_decode)
    monkeypatch.setattr(frame, "optical_flow", lambda *each: (sought.append(each), flow(*each))[1])
    segmenter.start(IMAGE, labels)
    decoded.clear()
    probabilities = segmenter.step(IMAGE).probabilities
    assert decoded == [16, 16, 8] and len(sought) == 1 and segmenter.ids == tuple(range(1, 41))
    assert sums_to_one(probabilities)


def test_a_gpu_out_of_memory_halves_the_memory_then_says_so(segmenter, monkeypatch):
    segmenter.max_mem_frames = 6
    segmenter.start(IMAGE, LABELS)
    gathered = Memory.gathered

    def limited(memory):
        if memory.max_mem_frames > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gathered(memory)

    monkeypatch.setattr(Memory, "gathered", limited)
    room = 2
    for _ in range(8):
        segmenter.step(IMAGE)
    assert segmenter.max_mem_frames == 1 and len(segmenter._track.groups[0].state.memory.frames) == 2
    room = 0
    with pytest.raises(StesaError, match=r"too little memory.*--size 32, or --device cpu"):
        segmenter.step(IMAGE)


def test_bad_masks(segmenter):
    with pytest.raises(InputError, match="the mask is 10×20, the frame 150×90"):
        segmenter.start(IMAGE, np.ones((20, 10), np.uint8))
    with pytest.raises(InputError, match="no object"):
        segmenter.start(IMAGE, np.zeros((90, 150), np.uint8))


def test_a_frame_that_cannot_be_had_takes_none_of_those_before_it(segmenter):
    segmenter.config = InferenceConfig(size=64, precision="fp32", finetune=False)

    def broken():
        yield from video(3)
        raise InputError("breaks off")

    found = []
    with pytest.raises(InputError, match="breaks off"):
        found.extend(segmenter.propagate(broken(), {0: LABELS}))
    with pytest.raises(InputError, match="the mask is"):
        for result in segmenter.propagate(video(3), {2: LABELS[1:]}):
            found.append(result)
    assert [result.index for result in found] == [0, 1, 2, 0, 1]

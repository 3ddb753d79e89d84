from dataclasses import replace

import numpy as np
import torch

from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.crop import Crop, around, union, whole
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.video.reading import Frame

from ..networks import tiny_network

FRAME = 256, 512
PICTURE = np.random.default_rng(0).integers(0, 255, (*FRAME, 3), np.uint8)


def test_large_objects_are_seen_in_the_whole_frame_and_small_ones_enlarged():
    assert around((0, 0, 130, 40), FRAME, 0.25) == whole(FRAME) == Crop(0, 0, 256, 512)
    assert around((0, 0, 40, 257), FRAME, 0.25) == whole(FRAME)
    assert around((100, 200, 120, 220), FRAME, 1.5) == whole(FRAME)  # nothing would be reduced
    assert around((100, 200, 120, 220), FRAME, 0.25) == Crop(78, 146, 64, 128)
    assert around((100, 200, 140, 220), FRAME, 0.25) == Crop(80, 130, 80, 160)  # twice the object's height
    assert around((250, 0, 256, 20), FRAME, 0.25) == Crop(192, 0, 64, 128)  # at the corner


def test_a_crop_stays_until_the_object_nears_its_edge_or_needs_more_or_much_less():
    old = around((110, 240, 150, 270), FRAME, 0.25)
    assert old == Crop(90, 175, 80, 160)
    assert around((120, 250, 152, 280), FRAME, 0.25, old) is old
    moved = around((140, 250, 180, 280), FRAME, 0.25, old)
    assert moved == Crop(120, 185, 80, 160)
    assert around((105, 240, 155, 270), FRAME, 0.25, old).height == 100
    assert around((110, 240, 140, 270), FRAME, 0.25, old) is old
    large = around((60, 200, 160, 300), FRAME, 0.25)
    assert around((110, 240, 150, 270), FRAME, 0.25, large).height == 80
    edge = around((216, 240, 256, 270), FRAME, 0.25)
    assert edge.top + edge.height == 256 and around((214, 240, 256, 270), FRAME, 0.25, edge) is edge


def test_a_crop_that_lost_its_object_grows_to_the_whole_frame():
    crop, heights = around((110, 240, 150, 270), FRAME, 0.25), []
    for _ in range(6):
        crop = around(None, FRAME, 0.25, crop)
        heights.append(crop.height)
    assert heights == sorted(heights) and heights[0] == 104 and crop == whole(FRAME)


def test_boxes_are_in_pixels_of_the_frame():
    seen = np.zeros((32, 64), bool)
    crop = Crop(10, 20, 64, 128)
    assert crop.box(seen) is None and union([None, None]) is None
    seen[3:5, 7] = True
    assert crop.box(seen) == (16, 34, 20, 36)
    assert union([None, (1, 5, 9, 9), (2, 3, 4, 12)]) == (1, 3, 9, 12)


def test_beside_the_crop_is_background():
    inside = torch.full((2, 4, 6), 0.5)
    every = Crop(1, 2, 4, 6).uncropped((8, 16), inside)
    assert every.shape == (2, 8, 16) and every[1].sum() == 12 and torch.equal(every.sum(0), torch.ones(8, 16))
    assert whole((4, 6)).uncropped((4, 6), inside) is inside


def test_states_move_with_the_crop():
    """A picture that is seen through another crop has its masks, hidden states and remembered places there."""
    network = tiny_network()
    torch.manual_seed(0)
    image, masks = torch.rand(1, 3, 64, 128), torch.rand(1, 2, 32, 64)
    _, state = network.start(network.encode(image), masks)
    moved = state.recropped((1, 1), (0.5, -0.25))  # half its height down, a quarter of its width to the left
    torch.testing.assert_close(moved.masks[:, :, :16, 16:], masks[:, :, 16:, :48])
    torch.testing.assert_close(moved.masks[:, :, 16:], torch.zeros(1, 2, 16, 64))
    for level, other in zip(state.hidden, moved.hidden, strict=True):
        height, width = level[1].shape[2] // 2, level[1].shape[3] // 4
        torch.testing.assert_close(other[1][..., :height, width:], level[1][..., height:, :-width])
    closer = state.recropped((0.5, 0.5), (0.25, 0.25))  # the lower right quarter, twice as large
    entry, whole_entry = closer.memory.frames[0], state.memory.frames[0]
    x, y = whole_entry.key[0, :, -4] * 2 - 1, whole_entry.key[0, :, -3] * 2 - 0.5
    torch.testing.assert_close(entry.key[0, :, -4:], torch.stack([x, y, x**2 + y**2, torch.ones(32)], -1))
    assert torch.equal(entry.key[..., :-4], whole_entry.key[..., :-4])
    back = closer.recropped((2, 2), (-0.5, -0.5))
    torch.testing.assert_close(back.memory.frames[0].key, whole_entry.key)


def segmenter_of(device: str, **options: bool) -> Segmenter:
    return Segmenter(tiny_network(), InferenceConfig(size=64, precision="fp32", **options), device)


def test_the_segmenter_follows_small_objects(device):
    segmenter, seen = segmenter_of(device), []
    encode = segmenter.network.encode
    segmenter.network.encode = lambda images: (seen.append(images), encode(images))[1]
    crops = [Crop(78, 146, 64, 128), Crop(78, 246, 64, 128), Crop(178, 246, 64, 128)]
    for number, (top, left) in enumerate([(100, 200), (100, 300), (200, 300)]):
        labels = np.zeros(FRAME, np.uint8)
        labels[top : top + 20, left : left + 20] = 5
        # only the prompted object counts: what an untrained network sees is forgotten
        segmenter._track = replace(segmenter._track, box=None, near=None)
        result = segmenter.step(PICTURE, labels)
        assert (result.labels == labels).all() and (result.probabilities[1].cpu().numpy() == (labels == 5)).all()
        shown = seen[number][0].permute(1, 2, 0).cpu() * 255
        torch.testing.assert_close(shown, torch.from_numpy(crops[number].of(PICTURE)).float())


def test_without_crop_the_whole_frame_is_seen_reduced(device):
    segmenter, seen = segmenter_of(device, crop=False), []
    encode = segmenter.network.encode
    segmenter.network.encode = lambda images: (seen.append(images.shape[2:]), encode(images))[1]
    labels = np.zeros(FRAME, np.uint8)
    labels[100:120, 200:220] = 5
    segmenter.start(PICTURE, labels)
    assert segmenter.step(PICTURE).labels.shape == FRAME and seen == [(64, 128)] * 2


def test_going_on_from_a_file_keeps_the_crop(tmp_path, device):
    labels = np.zeros(FRAME, np.uint8)
    labels[40:70, 400:430] = 1
    segmenter, other = segmenter_of(device), segmenter_of(device)
    segmenter.start(PICTURE, labels)
    segmenter.step(PICTURE)
    segmenter.save(tmp_path / "state.pt")
    expected = [segmenter.step(PICTURE) for _ in range(2)]
    other.restore(tmp_path / "state.pt")
    assert all((other.step(PICTURE).labels == e.labels).all() for e in expected)
    assert other._track.crop == segmenter._track.crop != whole(FRAME)


def test_overlapping_frames_come_to_the_same_as_single_steps(device):
    """Through a crop that moves, and with an object that comes in; what can be saved is what has come out."""
    segmenter, prompts = segmenter_of(device, finetune=False), {}
    for t, (top, left) in {0: (40, 400), 3: (200, 300)}.items():
        prompts[t] = np.zeros(FRAME, np.uint8)
        prompts[t][top : top + 30, left : left + 30] = t + 1
    frames = [Frame(np.roll(PICTURE, 5 * t, 1), t, t / 24) for t in range(7)]
    single = [segmenter.step(frame.image, prompts.get(frame.index)) for frame in frames]
    segmenter.reset()
    tracks = []
    for one, other in zip(single, segmenter.propagate(frames, prompts), strict=True):
        assert torch.equal(one.probabilities, other.probabilities) and (one.labels == other.labels).all()
        tracks.append(segmenter._track)
    assert [track.frames for track in tracks] == list(range(1, 8)) and len({track.crop for track in tracks}) > 1

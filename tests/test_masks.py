import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.masks import (
    PALETTE,
    VOID,
    label_map,
    mask_size,
    object_ids,
    one_hot,
    read_mask,
    soft_aggregation,
    write_mask,
)

LABELS = np.array([[0, 1, 2], [3, 254, VOID]], np.uint8)


def test_palette_is_that_of_davis():
    assert PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert PALETTE[VOID].tolist() == [224, 224, 192]
    assert len(np.unique(PALETTE, axis=0)) == 256


def test_a_written_mask_is_read_back(tmp_path):
    write_mask(tmp_path / "mask.png", LABELS)
    assert (read_mask(tmp_path / "mask.png") == LABELS).all()
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "P" and (np.array(image.convert("RGB")) == PALETTE[LABELS]).all()
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(np.array([[0, 255]], np.uint8)), [[0, 1]]),
        (Image.fromarray(np.array([[0, 7]], np.uint8)), [[0, 7]]),
        (Image.fromarray(np.array([[False, True]])), [[0, 1]]),
        (Image.fromarray(PALETTE[[[0, 2]]]), [[0, 2]]),
        (Image.fromarray(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)), [[0, 1]]),
        (Image.fromarray(np.dstack([PALETTE[[[0, 9]]], np.full((1, 2), 255, np.uint8)])), [[0, 9]]),
        (Image.fromarray(np.array([[0, 12]], np.uint16)), [[0, 12]]),
    ],
    ids=["binary grey", "grey ids", "one bit", "palette colours", "black and white", "with alpha", "16 bit"],
)
def test_mask_formats(tmp_path, image, expected):
    image.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == expected


def test_a_foreign_palette_keeps_its_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 5]], np.uint8))
    image.putpalette([255, 255, 255] * 256)
    image.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[0, 5]]


def drawn(scale: int = 1) -> np.ndarray:
    """A label map (96 * scale, 128 * scale) of a disc, a triangle that covers part of it, a bar and a small disc."""
    labels = np.zeros((96 * scale, 128 * scale), np.uint8)
    cv2.circle(labels, (40 * scale, 40 * scale), 25 * scale, 1, cv2.FILLED)
    cv2.fillPoly(labels, [np.array([[50, 20], [110, 45], [45, 75]]) * scale], 2)
    cv2.line(labels, (10 * scale, 88 * scale), (120 * scale, 80 * scale), 8, 7 * scale)
    cv2.circle(labels, (110 * scale, 15 * scale), 4 * scale, 7, cv2.FILLED)
    return labels


@pytest.mark.parametrize("scale", [2, 4])
def test_smooth_edges_make_no_objects(tmp_path, scale):
    """Between red, object 1, and black lies the colour of object 8, which is drawn too, elsewhere; and so forth."""
    large = drawn(scale)
    smooth = cv2.resize(PALETTE[large], (128, 96), interpolation=cv2.INTER_AREA)
    Image.fromarray(smooth).save(tmp_path / "mask.png")
    labels = read_mask(tmp_path / "mask.png")
    shares = cv2.resize(
        (large[..., None] == [0, 1, 2, 7, 8]).astype(np.float32), (128, 96), interpolation=cv2.INTER_AREA
    )
    expected = np.array([0, 1, 2, 7, 8])[shares.argmax(-1)]
    assert object_ids(labels) == [1, 2, 7, 8]
    assert (labels != expected).mean() < 0.002  # tips thinner than two pixels


def test_colours_of_the_palette_are_taken_at_their_word(tmp_path):
    labels = drawn()
    labels[2, 3], labels[90, 5:40], labels[50, 40:42] = 24, 64, 9
    Image.fromarray(PALETTE[labels]).save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png") == labels).all()


def test_the_noise_of_jpeg_is_undone(tmp_path):
    labels = drawn()
    Image.fromarray(PALETTE[labels]).save(tmp_path / "mask.jpg", quality=90)
    found = read_mask(tmp_path / "mask.jpg")
    assert object_ids(found) == [1, 2, 7, 8] and (found != labels).mean() < 0.01


@pytest.mark.parametrize("kind", ["grey.png", "rgb.png", "grey.jpg", "rgb.jpg"])
def test_a_smooth_white_object_is_one_object(tmp_path, kind):
    large = np.zeros((400, 600), np.uint8)
    cv2.ellipse(large, (300, 200), (200, 90), 30, 0, 360, 255, cv2.FILLED)
    smooth = Image.fromarray(cv2.resize(large, (150, 100), interpolation=cv2.INTER_AREA))
    (smooth.convert("RGB") if "rgb" in kind else smooth).save(tmp_path / kind)
    found = read_mask(tmp_path / kind)
    assert object_ids(found) == [1]
    assert (found != (np.asarray(smooth) >= 128)).mean() < (0.002 if "jpg" in kind else 1e-9)


def test_grey_ids_stay_ids(tmp_path):
    labels = drawn()
    labels[:10, :10] = VOID
    Image.fromarray(labels, "L").save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png") == labels).all()


def test_the_size_is_read_from_the_head_of_the_file(tmp_path):
    write_mask(tmp_path / "mask.png", drawn())
    whole = (tmp_path / "mask.png").read_bytes()
    (tmp_path / "mask.png").write_bytes(whole[:900])
    assert mask_size(tmp_path / "mask.png") == (128, 96)
    with pytest.raises(InputError, match="cannot be read"):
        read_mask(tmp_path / "mask.png")
    with pytest.raises(InputError, match="no such mask"):
        mask_size(tmp_path / "gone.png")


def test_unusable_masks_are_one_clear_line(tmp_path):
    red = np.zeros((20, 30, 3), np.uint8)
    red[5:15, 5:15] = 255, 0, 0
    Image.fromarray(red).save(tmp_path / "colours.png")
    photograph = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(photograph).save(tmp_path / "photograph.png")
    Image.fromarray(np.array([[300]], np.uint16)).save(tmp_path / "big.png")
    (tmp_path / "text.png").write_text("no image")
    for name, word in [
        ("colours.png", "#ff0000"),
        ("photograph.png", "colours outside"),
        ("big.png", "300"),
        ("text.png", "image"),
        ("gone.png", "no such"),
    ]:
        with pytest.raises(InputError, match=word) as caught:
            read_mask(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_one_hot_and_label_map_are_inverse():
    ids = object_ids(LABELS)
    assert ids == [1, 2, 3, 254]
    masks = one_hot(torch.from_numpy(LABELS), ids)
    assert masks.shape == (4, 2, 3)
    background = 1 - masks.sum(0, keepdim=True)
    expected = np.where(LABELS == VOID, 0, LABELS)
    assert (label_map(torch.cat([background, masks]), ids) == expected).all()


def test_soft_aggregation_follows_its_definition():
    chances = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)).double() * 0.9 + 0.05
    every = torch.cat([(1 - chances).prod(0, keepdim=True), chances])
    odds = every / (1 - every)
    aggregated = soft_aggregation(torch.logit(chances)).softmax(0)
    torch.testing.assert_close(aggregated, odds / odds.sum(0))


def test_soft_aggregation_of_extreme_logits_is_finite():
    logits = torch.tensor([100.0, -100.0]).view(2, 1, 1).requires_grad_()
    result = soft_aggregation(logits).softmax(0)
    result[1].sum().backward()
    assert result.flatten().tolist() == pytest.approx([0, 1, 0], abs=1e-5)
    assert torch.isfinite(logits.grad).all()

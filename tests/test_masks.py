import numpy as np
import pytest
import torch
from PIL import Image

from stesa_cli.errors import InputError
from stesa_cli.masks import PALETTE, VOID, label_map, object_ids, one_hot, read_mask, soft_aggregation, write_mask

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


def test_unusable_masks_are_one_clear_line(tmp_path):
    Image.fromarray(np.array([[[1, 2, 3]]], np.uint8)).save(tmp_path / "colours.png")
    Image.fromarray(np.array([[300]], np.uint16)).save(tmp_path / "big.png")
    (tmp_path / "text.png").write_text("no image")
    for name, word in [("colours.png", "#010203"), ("big.png", "300"), ("text.png", "image"), ("gone.png", "no such")]:
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

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
    read_mask_with_notes,
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
    blurred = np.zeros((20, 30, 3), np.uint8)
    blurred[5:15, 5:15] = 255, 0, 0
    Image.fromarray(cv2.GaussianBlur(blurred, (7, 7), 0)).save(tmp_path / "colours.png")
    photograph = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(photograph).save(tmp_path / "photograph.png")
    Image.fromarray(np.array([[300]], np.uint16)).save(tmp_path / "big.png")
    (tmp_path / "text.png").write_text("no image")
    for name, word in [
        ("colours.png", "colours outside"),
        ("photograph.png", "colours outside"),
        ("big.png", "300"),
        ("text.png", "image"),
        ("gone.png", "no such"),
    ]:
        with pytest.raises(InputError, match=word) as caught:
            read_mask(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def shapes(*levels: float, dtype: type = np.uint8) -> np.ndarray:
    """(60, 80): a disc of 709 px, a box of 600 px …, of these values on 0."""
    image = np.zeros((60, 80), np.float64)
    cv2.circle(image, (20, 20), 15, levels[0], cv2.FILLED)
    for place, level in enumerate(levels[1:]):
        image[38 - 18 * place : 58 - 18 * place, 45:75] = level
    return image.astype(dtype)


DISC = shapes(1)
BOTH = shapes(1, 2)


def understood(tmp_path, image: Image.Image | np.ndarray, name: str = "mask.png", **options) -> tuple[np.ndarray, str]:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(tmp_path / name, **options)
    labels, notes = read_mask_with_notes(tmp_path / name)
    assert labels.dtype == np.uint8 and all("\n" not in note for note in notes)
    return labels, "; ".join(notes)


def refused(tmp_path, image: Image.Image | np.ndarray, name: str = "mask.png", series: bool = False, **options) -> str:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(tmp_path / name, **options)
    with pytest.raises(InputError) as caught:
        read_mask(tmp_path / name, series=series)
    assert name in str(caught.value) and caught.value.fix and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["8 bit", "16 bit", "fractions", "palette", "rgb", "peak below white"])
@pytest.mark.parametrize("sigma", [0.8, 2, 8])
def test_a_soft_mask_is_one_object(tmp_path, kind, sigma):
    chance = cv2.GaussianBlur(shapes(1, dtype=np.float32), (0, 0), sigma)
    chance = chance * 0.96 + 0.01 if kind == "peak below white" else chance
    image: Image.Image | np.ndarray = (chance * 255).round().astype(np.uint8)
    if kind == "16 bit":
        image = (chance * 65535).astype(np.uint16)
    elif kind == "fractions":
        image = chance
    elif kind == "palette":
        image = Image.fromarray(image).convert("P")
    elif kind == "rgb":
        image = np.dstack([image] * 3)
    labels, note = understood(tmp_path, image, "mask.tif" if kind == "fractions" else "mask.png")
    assert (labels != (chance >= 0.5)).mean() < 0.003 and "one object, cut at level 128" in note


@pytest.mark.parametrize("kind", ["L", "RGB"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("m.jpg", {"quality": 75}), ("m.jpg", {"quality": 95}), ("m.webp", {"quality": 70})],
)
def test_lossy_files_hold_black_and_white_or_are_refused(tmp_path, kind, name, options):
    for levels in [(38, 76), (1, 2), (128, 255), (100, 200), (60, 255)]:
        assert "a lossy file that holds more" in refused(
            tmp_path, Image.fromarray(shapes(*levels)).convert(kind), name, **options
        )
    labels, _ = understood(tmp_path, Image.fromarray(DISC * 255).convert(kind), name, **options)
    assert (labels != DISC).mean() < 0.001


def test_a_lossless_webp_is_as_good_as_a_png(tmp_path):
    assert (understood(tmp_path, PALETTE[BOTH], "m.webp", lossless=True)[0] == BOTH).all()


def test_noise_of_a_lossy_file_makes_no_objects(tmp_path):
    for levels in [(255,), (38, 76), (100, 200)]:
        Image.fromarray(shapes(*levels)).save(tmp_path / "a.jpg", quality=80)
        with Image.open(tmp_path / "a.jpg") as image:
            if levels == (255,):
                labels, note = understood(tmp_path, image, "b.png")
                assert (labels != DISC).mean() < 0.001 and "one object" in note
            else:
                assert "only at edges or as noise" in refused(tmp_path, image, "b.png")


def test_smoothed_ids_are_refused(tmp_path):
    large = cv2.resize(shapes(100, 200), (400, 300), interpolation=cv2.INTER_NEAREST)
    assert "resized without smoothing" in refused(tmp_path, cv2.resize(large, (111, 83), interpolation=cv2.INTER_AREA))


def test_soft_masks_that_end_below_the_middle_are_no_ids(tmp_path):
    percent = cv2.GaussianBlur(shapes(100), (0, 0), 2)
    assert "only at edges or as noise" in refused(tmp_path, percent)
    wide = cv2.GaussianBlur(cv2.resize(shapes(100), (640, 480)), (0, 0), 30)
    assert "only at edges or as noise" in refused(tmp_path, wide)
    many = np.arange(1, 61, dtype=np.uint8).reshape(6, 10).repeat(10, 0).repeat(8, 1)  # 60 objects
    assert (understood(tmp_path, many)[0] == many).all()


def test_alpha_is_the_mask_where_colour_says_nothing(tmp_path):
    alpha = DISC * np.uint8(255)
    photograph = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    for colour in (np.full((60, 80, 3), 255, np.uint8), np.zeros((60, 80, 3), np.uint8), photograph):
        labels, note = understood(tmp_path, np.dstack([colour, alpha]))
        assert (labels == DISC).all() and "alpha" in note
    for grey in (0, 255):
        labels, note = understood(tmp_path, Image.fromarray(np.dstack([np.full_like(alpha, grey), alpha]), "LA"))
        assert (labels == DISC).all() and "alpha" in note
    soft = cv2.GaussianBlur(alpha, (0, 0), 1.5)
    labels, _ = understood(tmp_path, np.dstack([np.full((60, 80, 3), 255, np.uint8), soft]))
    assert (labels != DISC).mean() < 0.01


def test_colour_says_more_than_alpha(tmp_path):
    half = np.where(BOTH > 0, 128, 0).astype(np.uint8)  # (128, 0, 0) darkened by half would be object 8
    for alpha in (half, half * 0 + 255, half * 0, np.where(BOTH > 0, 255, 0).astype(np.uint8)):
        labels, note = understood(tmp_path, np.dstack([PALETTE[BOTH], alpha]))
        assert (labels == BOTH).all() and not note
        labels, note = understood(tmp_path, Image.fromarray(np.dstack([BOTH, alpha]), "LA"))
        assert (labels == BOTH).all() and not note
    clear_white = np.dstack([np.where(BOTH[..., None] > 0, PALETTE[BOTH], 255), half]).astype(np.uint8)
    assert (understood(tmp_path, clear_white)[0] == BOTH).all()


@pytest.mark.parametrize("white", [65535, 65280, 4095, 1023])
def test_more_than_8_bits(tmp_path, white):
    assert (understood(tmp_path, shapes(white, dtype=np.uint16))[0] == DISC).all()
    labels, note = understood(tmp_path, shapes(white // 2, white, dtype=np.uint16))
    assert (labels == BOTH).all() and "objects 1 to 2" in note
    ids = shapes(7, 254, dtype=np.uint16)
    assert (understood(tmp_path, ids)[0] == ids).all()
    assert (understood(tmp_path, ids.astype(np.int32), "m.tif")[0] == ids).all()
    assert "id 300" in refused(tmp_path, shapes(3, 300, dtype=np.uint16))
    assert "negative number -2" in refused(tmp_path, shapes(3, -2, dtype=np.int32), "m.tif")


def test_levels_up_to_white_are_objects_but_255_beside_small_ids_is_void(tmp_path):
    for levels in [(128, 255), (127, 255), (85, 170, 255)]:
        labels, note = understood(tmp_path, shapes(*levels))
        assert (labels == shapes(*range(1, len(levels) + 1))).all() and f"the objects 1 to {len(levels)}" in note
        assert (understood(tmp_path, np.dstack([shapes(*levels)] * 3))[0] == labels).all()
        assert "which are no ids" in refused(tmp_path, shapes(*levels), series=True)
    labels, note = understood(tmp_path, indexed(shapes(128, 255), *PALETTE.tolist()))
    assert (labels == BOTH).all() and "objects 1 to 2" in note
    void = shapes(3, VOID)
    for image in (void, Image.fromarray(void).convert("P")):
        assert (understood(tmp_path, image)[0] == void).all()


@pytest.mark.filterwarnings("error")
def test_floats(tmp_path):
    holes = np.where(DISC > 0, 1, np.nan).astype(np.float32)
    labels, note = understood(tmp_path, holes, "m.tif")
    assert (labels == DISC).all() and "no number are background" in note
    ids = shapes(3, 200, dtype=np.float32)
    assert (understood(tmp_path, ids, "m.tif")[0] == ids).all()
    for wrong, words in [(np.inf, "infinite"), (0.3, "holds the id 0.3"), (-1, "negative")]:
        assert words in refused(tmp_path, shapes(wrong, dtype=np.float32), "m.tif")


def indexed(indices: np.ndarray, *palette: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette([channel for colour in palette for channel in colour])
    return image


def test_two_colours_black_and_white_go_by_colour(tmp_path):
    black, white = (0, 0, 0), (255, 255, 255)
    labels, note = understood(tmp_path, indexed(1 - DISC, white, black))
    assert (labels == DISC).all() and "white is taken for the object" in note
    assert (understood(tmp_path, indexed(DISC, black, white))[0] == DISC).all()
    assert (understood(tmp_path, indexed(DISC * 0 + 1, white, black))[0] == 0).all()
    assert (understood(tmp_path, Image.fromarray(DISC * 255).convert("P"))[0] == DISC).all()
    assert (understood(tmp_path, Image.fromarray(DISC * 255).convert("RGB").quantize(2))[0] == DISC).all()
    assert (understood(tmp_path, indexed(DISC * 5, *[black] * 5, white))[0] == DISC * 5).all()
    other = indexed(DISC, white, (200, 30, 30))  # white is the ground of many palettes
    assert (understood(tmp_path, other)[0] == DISC).all()


@pytest.mark.parametrize("method", ["convert", "adaptive", "quantize", "octree", "plain"])
def test_palettes_in_another_order_go_by_their_colours(tmp_path, method):
    truth = shapes(1, 2, 3)
    image = Image.fromarray(PALETTE[truth])
    changed = {
        "convert": lambda: image.convert("P"),
        "adaptive": lambda: image.convert("P", palette=Image.Palette.ADAPTIVE),
        "quantize": lambda: image.quantize(),
        "octree": lambda: image.quantize(method=Image.Quantize.FASTOCTREE),
        "plain": lambda: image.convert("P", dither=Image.Dither.NONE),
    }[method]()
    assert (np.asarray(changed) != truth).any()
    labels, note = understood(tmp_path, changed)
    assert (labels == truth).all() and "ids go by colour" in note


def test_red_and_blue_swapped_are_told_of(tmp_path):
    labels, note = understood(tmp_path, PALETTE[BOTH][..., ::-1].copy())
    assert object_ids(labels) == [2, 4] and "with red and blue swapped they would be 2, 1" in note
    assert not understood(tmp_path, PALETTE[shapes(2, 5)])[1]
    labels, note = understood(tmp_path, indexed(BOTH, *PALETTE[:, ::-1].tolist()))
    assert (labels == BOTH).all() and not note  # an index is an index


def test_flat_colours_are_objects_the_largest_first(tmp_path):
    colours = np.array([(0, 0, 0), (51, 221, 255), (250, 50, 83)], np.uint8)
    labels, note = understood(tmp_path, colours[np.array([0, 2, 1], np.uint8)[BOTH]])
    assert (labels == BOTH).all() and "1 is #fa3253 (709 px), 2 is #33ddff (600 px)" in note and "on black" in note
    assert "colours outside" in refused(tmp_path, colours[BOTH], series=True)
    on_white = np.where(BOTH[..., None] > 0, colours[BOTH], 255).astype(np.uint8)
    labels, note = understood(tmp_path, on_white)
    assert (labels == BOTH).all() and "on white" in note
    assert "colours outside" in refused(tmp_path, cv2.GaussianBlur(colours[BOTH], (5, 5), 0))
    for lossy in (colours[BOTH], PALETTE[BOTH]):
        assert "a lossy file in colours" in refused(tmp_path, lossy, "m.jpg", quality=95)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "RGBX", "La", "RGBa"])
def test_rare_modes_are_understood_or_refused(tmp_path, mode):
    base = Image.fromarray(DISC * np.uint8(255)).convert({"La": "LA", "RGBa": "RGBA"}.get(mode, "RGB"))
    image = base.convert(mode)
    try:
        image.save(tmp_path / "m.tif")
        labels = read_mask(tmp_path / "m.tif")
    except (OSError, InputError) as error:
        assert "cannot" in str(error)
    else:
        assert (labels == DISC).all()


def test_turned_and_many_pictures(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    labels, _ = understood(tmp_path, np.rot90(DISC * 255).copy(), "m.jpg", exif=exif, quality=95)
    assert (labels != DISC).mean() < 0.002 and mask_size(tmp_path / "m.jpg") == (80, 60)
    pages = [Image.fromarray(DISC)]
    assert "several pictures" in refused(tmp_path, Image.fromarray(DISC), "m.tif", save_all=True, append_images=pages)


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


def test_a_soft_mask_in_a_palette_of_greys_is_one_object(tmp_path):
    """As a GIF has it, whose indices are not its greys."""
    distance = np.hypot(*(np.mgrid[:90, :140] - np.array([45, 70])[:, None, None]))
    soft = np.clip(128 + 12 * (25 - distance), 0, 255).astype(np.uint8)
    Image.fromarray(soft).save(tmp_path / "soft.gif")
    labels = read_mask(tmp_path / "soft.gif")
    assert (labels == (soft >= 128)).all()

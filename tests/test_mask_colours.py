"""Masks whose colours have been changed by what saved them."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from stesa_cli.errors import InputError
from stesa_cli.masks import PALETTE, object_ids, read_mask
from tests.test_masks import BOTH, DISC, indexed, refused, shapes, understood

CVAT = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255), (255, 204, 51)], np.uint8)


@pytest.mark.parametrize("name", ["quantize.png", "adaptive.png", "quantize.tif", "any.gif"])
def test_quantised_colours_read_as_the_colours_do(tmp_path, name):
    """Pillow puts the colours of a palette in any order, black last: by index, background and object would be
    swapped."""
    colours = Image.fromarray(CVAT[np.array([0, 2, 1, 3], np.uint8)[shapes(1, 2, 3)]])
    adaptive = {"palette": Image.Palette.ADAPTIVE}
    image = colours.quantize(8) if "quantize" in name else colours.convert("P", **adaptive)
    labels, note = understood(tmp_path, image, name)
    assert (labels == understood(tmp_path, colours)[0]).all() and "it is the background, and ids go by colour" in note
    assert "colours outside" in refused(tmp_path, image, name, series=True)


def test_black_that_is_not_first_is_the_background_but_for_one_all_around(tmp_path):
    places = np.array([1, 0, 2], np.uint8)[BOTH]
    labels, note = understood(tmp_path, indexed(places, CVAT[1], CVAT[0], CVAT[2]))
    assert (labels == BOTH).all() and "black is index 1" in note
    labels, note = understood(tmp_path, indexed(BOTH, (255, 255, 255), (0, 0, 0), (51, 221, 255)))
    assert (labels == BOTH).all() and "black, index 1, is not 0" in note  # white was chosen for the background
    labels, _ = understood(tmp_path, indexed(places, (255, 255, 255), (0, 0, 0), (51, 221, 255)))
    assert (labels == BOTH).all()


def test_a_soft_mask_of_a_few_quantised_greys_is_one_object(tmp_path):
    white = cv2.circle(np.zeros((128, 176), np.uint8), (40, 50), 20, 255, cv2.FILLED)
    soft = np.asarray(Image.fromarray(white).filter(ImageFilter.GaussianBlur(2)))
    labels, note = understood(tmp_path, Image.fromarray(soft).quantize(16))
    assert (labels != (soft >= 128)).mean() < 0.01 and "cut at level 128" in note


def test_dithered_colours_are_undone_or_refused(tmp_path):
    """A GIF keeps only the web colours that are used, from index 0 on."""
    labels, note = understood(tmp_path, Image.fromarray(PALETTE[BOTH]).convert("P"), "davis.gif")
    assert (labels == BOTH).all() and "ids go by colour" in note
    for colours in (CVAT, np.array([(0, 0, 0), (70, 70, 70), (140, 140, 140)], np.uint8)):
        said = refused(tmp_path, Image.fromarray(colours[BOTH]).convert("RGB").convert("P"), "other.gif")
        assert "dithered" in said and "save it as PNG" in said
    steps = [(0, 0, 0), (51, 0, 0), (102, 0, 0)]  # web colours, but plain ones
    assert (understood(tmp_path, indexed(BOTH, *steps))[0] == BOTH).all()


def test_colours_swapped_and_quantised_are_told_of_both(tmp_path):
    swapped = np.ascontiguousarray(PALETTE[shapes(1, 2, 3)][..., ::-1])
    _, note = understood(tmp_path, Image.fromarray(swapped).quantize(8))
    assert "another order" in note and "with red and blue swapped they would be 2, 1, 3" in note


def test_colours_that_are_only_near_those_of_ids_are_told_of(tmp_path):
    colours = np.array([(0, 0, 0), (200, 0, 0), (0, 200, 0)], np.uint8)[BOTH]
    labels, note = understood(tmp_path, colours)
    assert object_ids(labels) == [9, 18] and "only near those of the ids 9, 18" in note


@pytest.mark.parametrize("alpha", [False, True])
def test_small_ids_in_16_bits_a_channel(tmp_path, alpha):
    def save(image):
        full = np.full(BOTH.shape, 65535, np.uint16)
        cv2.imwrite(str(tmp_path / "deep.png"), np.dstack([image[..., ::-1], *[full] * alpha]).astype(np.uint16))
        return tmp_path / "deep.png"

    assert (read_mask(save(np.dstack([BOTH] * 3))) == BOTH).all()
    assert (read_mask(save(PALETTE[BOTH])) == BOTH).all()
    assert (read_mask(save(PALETTE[BOTH].astype(np.uint16) * 257)) == BOTH).all()
    with pytest.raises(InputError, match="holds the id 60000"):
        read_mask(save(np.dstack([BOTH] * 3).astype(np.uint16) * 30000))


@pytest.mark.parametrize("name", ["soft.jpg", "soft.webp"])
def test_lossy_soft_masks_are_told_of(tmp_path, name):
    soft = cv2.GaussianBlur(DISC * np.uint8(255), (0, 0), 2)
    assert "cut at level 128" in understood(tmp_path, soft, name, quality=85)[1]
    assert not understood(tmp_path, DISC * np.uint8(255), name, quality=85)[1]


def test_a_file_that_is_no_image_names_its_path_once(tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError) as caught:
        read_mask(tmp_path / "folder.png")
    assert str(caught.value).count("folder.png") == 1


@pytest.mark.parametrize("colours", [PALETTE, CVAT], ids=["davis", "cvat"])
def test_smooth_edges_in_a_palette_are_no_objects(tmp_path, colours):
    """Pillow's octree puts black first, so nothing but the thin edges tells that its indices are no ids."""
    large = cv2.resize(shapes(1, 2), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    large = cv2.warpAffine(large, np.float64([[0.98, -0.17, 30], [0.17, 0.98, -20]]), large.shape[::-1], flags=0)
    smooth = Image.fromarray(cv2.resize(colours[large], (80, 60), interpolation=cv2.INTER_AREA))
    image = smooth.quantize(64, method=Image.Quantize.FASTOCTREE)
    if colours is PALETTE:
        labels, truth = (understood(tmp_path, each)[0] for each in (image, smooth))
        assert object_ids(labels) == [1, 2] and (labels != truth).mean() < 0.005
    else:
        assert "only at edges or as noise" in refused(tmp_path, image)


def test_white_all_around_is_the_background_though_it_is_not_first(tmp_path):
    labels, note = understood(tmp_path, indexed(np.array([2, 0, 1], np.uint8)[BOTH], CVAT[1], CVAT[2], (255,) * 3))
    assert (labels == BOTH).all() and "white is index 2 of its palette: it is the background" in note


def test_a_lossy_grey_is_no_id_though_it_is_a_colour_of_one(tmp_path):
    assert "lossy" in refused(tmp_path, np.full((1, 1), 64, np.uint8), "grey.webp", quality=60)


def test_tiny_objects_in_a_foreign_palette_keep_their_ids_or_are_refused(tmp_path):
    """Nothing tells them from the edges of a picture."""
    foreign = [(40, 90, 200), (200, 150, 30), (30, 220, 90), (90, 40, 120), (150, 150, 20)]
    labels = np.zeros((20, 20), np.uint8)
    labels[5, 5:9] = 1, 2, 3, 4
    assert "only at edges or as noise" in refused(tmp_path, indexed(labels, *foreign))
    labels[5:12, 5:12] = np.arange(1, 5, dtype=np.uint8).repeat(2)[:7]
    assert (understood(tmp_path, indexed(labels, *foreign))[0] == labels).all()

"""The overlay shows each object in its colour, its outline inside its edge, and the rest of the picture untouched."""

import numpy as np
import pytest

from stesa_cli.masks import PALETTE
from stesa_cli.video.overlay import OverlayStyle, overlay

IMAGE = np.full((480, 640, 3), (10, 100, 190), np.uint8)
LABELS = np.zeros((480, 640), np.uint8)
LABELS[100:300, 100:300] = 1
LABELS[100:300, 300:500] = 2


def test_fill_outline_and_background() -> None:
    before = IMAGE.copy()
    drawn = overlay(IMAGE, LABELS)
    assert (before == IMAGE).all() and drawn.shape == IMAGE.shape and drawn.dtype == np.uint8
    assert (drawn[LABELS == 0] == IMAGE[0, 0]).all()
    for i, x in ((1, 200), (2, 400)):
        assert np.abs(drawn[200, x] - (0.5 * IMAGE[0, 0] + 0.5 * PALETTE[i])).max() <= 1
    assert (drawn[100, 150] == (255, 0, 0)).all() and (drawn[299, 450] == (0, 255, 0)).all()
    assert (drawn[200, 299] == (255, 0, 0)).all() and (drawn[200, 300] == (0, 255, 0)).all(), "between neighbours"


def test_opacity_contour_and_line_follow_the_settings() -> None:
    assert (overlay(IMAGE, LABELS, OverlayStyle(opacity=0, contour=0)) == IMAGE).all()
    assert (overlay(IMAGE, LABELS, OverlayStyle(opacity=1, contour=0))[LABELS == 2] == PALETTE[2]).all()

    def line(scale: int, contour: int | None = None) -> int:
        image, labels = (np.repeat(np.repeat(a, scale, 0), scale, 1) for a in (IMAGE, LABELS))
        drawn = overlay(image, labels, OverlayStyle(contour=contour))
        return int((drawn[200 * scale, : 300 * scale] == (255, 0, 0)).all(-1).sum())

    assert line(1) == 2 * 2 and line(2) == 2 * 3 and line(1, 5) == line(2, 5) == 2 * 5


@pytest.mark.parametrize("box", [(slice(0, 30), slice(0, 30)), (slice(200, 400), slice(500, 640))])
def test_ids_are_written_on_their_object(box: tuple[slice, slice]) -> None:
    labels = np.zeros_like(LABELS)
    labels[box] = 12
    changed = (overlay(IMAGE, labels, OverlayStyle(ids=True)) != overlay(IMAGE, labels)).any(-1)
    assert changed.any() and (changed & (labels == 12)).sum() > 0.5 * changed.sum()

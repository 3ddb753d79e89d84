import numpy as np

from stesa_cli.data.flaws import cover, draw_flaws
from stesa_cli.masks import VOID

FRAME = np.full((128, 192, 3), 40, np.uint8)
LABELS = np.zeros((128, 192), np.uint8)
FRAME[32:96, 48:96], LABELS[32:96, 48:96] = 200, 1
FRAME[64:96, 128:160], LABELS[64:96, 128:160] = 120, 2


def test_parts_are_lost_and_things_beside_are_taken():
    object_, found = LABELS[::4, ::4] == 1, {"lost": 0, "taken": 0}
    for seed in range(40):
        flaws = draw_flaws(FRAME, LABELS, [1], 0.75, np.random.default_rng(seed))
        assert flaws.shape == (32, 48) and flaws.dtype == np.uint8 and set(np.unique(flaws)) <= {0, 1, VOID}
        assert np.array_equal(flaws, draw_flaws(FRAME, LABELS, [1], 0.75, np.random.default_rng(seed)))
        found["lost"] += ((flaws == 0) & object_).any()
        found["taken"] += ((flaws == 1) & ~object_).any()
        assert (flaws != VOID).mean() < 0.5
    assert min(found.values()) > 10


def test_the_share_of_losses():
    drawn = {
        lost: [draw_flaws(FRAME, LABELS, [1], lost, np.random.default_rng(seed)) for seed in range(20)]
        for lost in (0.0, 1.0)
    }
    assert all((flaws != 0).all() for flaws in drawn[0.0]) and all((flaws != 1).all() for flaws in drawn[1.0])


def test_many_flaws_end_where_the_colour_does():
    """At a fourth of the resolution, smoothed and one pixel dilated: that far they reach over the edge."""
    inside = np.zeros((32, 48), bool)
    inside[6:26, 10:26] = True
    every = [draw_flaws(FRAME, LABELS, [1], 0.75, np.random.default_rng(seed)) for seed in range(60)]
    lost = [flaws == 0 for flaws in every if (flaws == 0).any()]
    kept = sum(not (region & ~inside).any() for region in lost)
    assert len(lost) / 2 < kept < len(lost)


def test_an_object_that_is_not_there_has_no_flaws():
    assert (draw_flaws(FRAME, LABELS, [3], 0.75, np.random.default_rng(0)) == VOID).all()


def test_parts_are_covered_at_first_by_what_is_elsewhere():
    covered = 0
    for seed in range(20):
        layer = [(FRAME, LABELS)] * 4
        cover(layer, 1, np.random.default_rng(seed))
        lengths = [(labels != LABELS).any() for _, labels in layer]
        assert not lengths[2] and not lengths[3] and lengths[1] <= lengths[0]  # in one frame or two
        image, labels = layer[0]
        hidden = labels != LABELS
        assert (labels[hidden] == 0).all() and image.dtype == labels.dtype == np.uint8
        assert np.array_equal(image[~hidden & (LABELS > 0)], FRAME[~hidden & (LABELS > 0)])
        assert (image[hidden] == 40).all()  # the object is nowhere twice
        covered += hidden.any()
    assert covered > 10 and (FRAME[LABELS == 1] == 200).all()


def test_what_is_not_there_is_not_covered():
    layer = [(FRAME, LABELS)] * 4
    cover(layer, 3, np.random.default_rng(0))
    assert all(image is FRAME and labels is LABELS for image, labels in layer)

"""What is seen of the objects of a frame."""

import numpy as np

from stesa_cli.segmentation.results import seen_in


def test_an_object_of_one_pixel_is_seen():
    labels, sure = np.zeros((4, 5), np.uint8), np.full((4, 5), 255, np.uint8)
    labels[1, 2], sure[1, 2] = 7, 51
    assert seen_in(labels, sure, (7, 9)) == {7: (1, 0.2), 9: (0, 0.0)}

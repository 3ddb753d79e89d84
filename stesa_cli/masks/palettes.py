"""What an index image means as a mask: its indices, or its colours, where the indices are only those of a palette that
was made to save these colours."""

import numpy as np

from stesa_cli.errors import InputError
from stesa_cli.masks.colours import labels_of_colours, nearest_ids, swapped_note
from stesa_cli.masks.grey import SMALL, labels_of_grey, labels_of_levels, squares
from stesa_cli.masks.labels import PALETTE, VOID, object_ids

MANY = 16  # greys of a palette, above which they are levels of one soft mask, not ids
WEB = 51
"""Between the levels of the 216 web colours, to which Pillow's ``convert("P")`` dithers."""
_MIXED = 0.05  # share of the pixels that are not black above which they are dithered
_FIX = "save it as PNG, in its own colours or as an index PNG"
_REORDERED = "its palette holds the DAVIS colours in another order: ids go by colour, not by index"
_LATER = "{} is index {} of its palette: it is the background, and ids go by colour, not by index"
_WHITE_FIRST = "ids go by index, though black, index {}, is not 0: where black is the background, save it as index 0"


def labels_of_indices(indices: np.ndarray, palette: np.ndarray, series: bool) -> tuple[np.ndarray, list[str]]:
    """Label map (H, W) uint8 of an index image (H, W) uint8 with a palette (N, 3) uint8 RGB, and notes; ``series`` as
    in ``labels_of_grey``. Raises InputError, without a place, where colours count and cannot be understood."""
    palette = np.vstack([palette, np.zeros((256, 3), np.uint8)])[:256]
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    colours = palette[used]
    white, black = used[(colours >= 250).all(axis=1)], used[(colours <= 5).all(axis=1)]
    if (colours == used[:, None]).all() or (len(used) > MANY and np.ptp(colours, axis=1).max() == 0):
        return labels_of_grey(palette[indices, 0], False, series)  # a GIF's greys are not at their own index
    if used[-1] <= 1 and (palette[0] >= 250).all() and (palette[1] <= 5).all():
        note = "index 0 is white and 1 is black: white is taken for the object"
        return (indices == 0).astype(np.uint8), [note]
    if len(used) == 2 and white.size and black.size:
        return (indices == white[0]) * np.uint8(1 if white[0] in (0, VOID) else white[0]), []
    ground = black if black.size else white
    later = bool(ground.size) and not (palette[0] == palette[ground[0]]).all() and _is_ground(ground, indices, palette)
    if len(np.unique(colours, axis=0)) < len(used) and (black.size > 1 or not later) and not _edges(indices, used):
        return indices.copy(), []
    dithered = _is_dithered(indices, palette, used)
    web = dithered or ((palette % WEB == 0).all() and used[-1] >= 10)
    meant = np.where(web & np.isin(colours, (102, 153)), 128, colours).astype(np.uint8)  # a mixture of these
    ids = nearest_ids(meant)
    recognised = np.all(PALETTE[ids] == meant, axis=1)
    if recognised.all():
        if used[-1] == VOID and SMALL < used[used > 0][0] < VOID and not series:
            return labels_of_levels(indices, used[used > 0].tolist(), series)
        if (ids == used).all() or (colours == PALETTE[used][:, ::-1]).all():  # red and blue may be swapped in it
            return indices.copy(), []
        table = np.zeros(256, np.uint8)
        table[used] = ids
        labels = table[indices]
        return labels, [_REORDERED, *([] if series else swapped_note(object_ids(labels)))]
    edges = _edges(indices, used)
    greys = np.ptp(colours, axis=1).max() == 0
    ramp = greys and (np.diff(colours[:, 0].astype(int)) < 0).any()
    first = bool((palette[0] >= 250).all() and black.size and not later)
    if not (web or later or edges or (ramp and not first)):
        return indices.copy(), [_WHITE_FIRST.format(black[0])] if first else []
    problem = None
    if dithered:
        problem = InputError("its colours were lost when it was saved: they are mixed of others (dithered)", fix=_FIX)
    elif edges:
        problem = InputError(f"holds {len(used)} colours, {edges} of them only at edges or as noise", fix=_FIX)
    try:
        labels, notes = labels_of_colours(palette[indices], False, series)
    except InputError as error:
        raise (problem or error) from error
    share = np.isin(indices, used[recognised & (ids != 0)]).sum() / max(1, (~np.isin(indices, black)).sum())
    if problem and (labels.max() > 1 if greys else share <= 0.5):
        raise problem
    if share > 0.5:
        return labels, [_REORDERED, *notes]
    return labels, [_LATER.format("black" if black.size else "white", ground[0]), *notes] if later else notes


def _is_ground(ground: np.ndarray, indices: np.ndarray, palette: np.ndarray) -> bool:
    """Whether black or white of these indices is the background though index 0 is another colour: hands put the
    background first, so black is, unless white is first; else what has more of the sides of the image (H, W)."""
    if (palette[ground[0]] <= 5).all() and not (palette[0] >= 250).all():
        return bool((palette[0] > 5).any())
    sides = np.concatenate([indices[0], indices[-1], indices[:, 0], indices[:, -1]])
    return bool(np.isin(sides, ground).sum() > (sides == 0).sum())


def _edges(indices: np.ndarray, used: np.ndarray) -> int:
    """How many indices are only those of edges or noise, where these are as many as to tell of a picture."""
    solid = np.bincount(indices[squares(indices, np.ones(indices.shape, bool), 2)], minlength=256)
    thin = solid[used] < np.bincount(indices.ravel(), minlength=256)[used] / 2
    return int(thin.sum()) if thin.sum() >= max(4, len(used) / 2) else 0


def _is_dithered(indices: np.ndarray, palette: np.ndarray, used: np.ndarray) -> bool:
    """Whether neighbours are of neighbouring web colours, as is seldom meant."""
    if (palette[used] % WEB != 0).any():
        return False
    image = palette[indices].astype(np.int16)
    shown = image.any(axis=2)
    mixed = 0
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        apart = np.abs(image[one] - image[other]).max(axis=2)
        mixed += (shown[one] & shown[other] & (apart == WEB)).sum()
    return bool(mixed > _MIXED * shown.sum())

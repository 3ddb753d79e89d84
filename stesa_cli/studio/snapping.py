"""Clicks, scribbles and boxes find an object: first what is nearer to them than to all else, along paths that cross few
edges of the picture (geodesic distance); then the network, given that as the mask of the frame, says what it sees."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

from stesa_cli.checkpoint import load_network
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.frame import Given, Seen, see
from stesa_cli.inference.prepared import prepared
from stesa_cli.inference.refine import assembled, guided_upsampling
from stesa_cli.runtime import autocast, find_device, place
from stesa_cli.studio.marks import Asked, Mark, drawn
from stesa_cli.video.reading import Frame

SEEN = 320  # short side in pixels at which the network sees a frame
SIDE = 224  # long side of the picture that paths go through
EDGE = 30.0  # pixels' way that crossing a difference of 1 in CIE Lab is worth
TIMES = 3, 2  # how often the network takes its own answer for the mask: for the first mark, for later ones
LAST = 0.4  # weight of the last answer against distances, which are from -1 to 1
PATH, STRAIGHT = 1.5, 2.5  # how far a mark corrects, by the way from it to where it would be right
DOT, SURE = 0.02, 0.006  # shares of the width around a mark that are as it says: for the network, and in its answer
THIN = 5  # pixels: what has changed and is thinner is an edge
KEPT = 8  # frames


@dataclass(frozen=True, eq=False)
class _Picture:
    small: np.ndarray  # (h, w, 3) uint8 RGB
    costs: csr_array  # (h w, h w): of a step between two pixels of it
    seen: Seen


class Snapper:
    """Finds objects in frames, each of which the network sees once. May be used from several threads."""

    def __init__(self, weights: str | Path, config: InferenceConfig, device: str = "auto") -> None:
        self._asked = weights, config, device
        self._config = InferenceConfig(size=SEEN, crop=False, precision=config.precision)
        self._pictures: OrderedDict[int, _Picture] = OrderedDict()
        self._lock = Lock()

    def prepare(self, frame: Frame) -> None:
        """See a frame before anybody asks for something in it."""
        with self._lock:
            self._picture(frame)

    def snap(self, frame: Frame, asked: Asked) -> np.ndarray:
        """(H, W) bool, the object of a frame that the marks mean. One that is found anew has a mark in each of its
        parts; one that is corrected stays as it is away from them."""
        with self._lock:
            picture = self._picture(frame)
            shape, size = frame.image.shape[:2], picture.small.shape[:2]
            own, others = (asked.drawn(plus, shape, size) for plus in (True, False))
            outside, before = asked.outside(shape, size), asked.before
            old = np.zeros(size, bool) if before is None else _resized(before, size) > 0.5
            zone = np.zeros(size, bool)
            if asked.corrects:
                zone = self._zone(picture, asked.marks, shape, old)
                rough = _nearness(picture.costs, own | (old & ~zone), others | (~old & ~zone)) > 0
            elif own.any():
                rough = self._begun(picture, own, others | outside, old)
            else:
                rough = _by_colour(picture.small, others, outside) if asked.box else own
            rough = (rough | _around(own, DOT)) & ~_around(others, DOT / 2)
            if own.any() and not asked.corrects:
                rough = _parts(rough, own)
            found = self._recognised(picture, asked, rough, TIMES[bool(old.any())])
            plus, minus = (asked.drawn(plus, shape, shape) for plus in (True, False))
            found = (found | _around(plus, SURE)) & ~_around(minus, SURE / 2)
            if asked.corrects and before is not None:
                return _changed(before, found, _resized(zone, shape) > 0.5)
            found &= ~asked.outside(shape, shape)
            found = _parts(found, plus) if plus.any() else found
            return found if found.any() else _resized(rough, shape) > 0.5  # the network knows nothing of the kind

    def _picture(self, frame: Frame) -> _Picture:
        if frame.index not in self._pictures:
            if not self._pictures:  # the first one
                weights, config, device = self._asked
                network = load_network(weights)[0].eval()
                place(network, find_device(device))
                self._network = prepared(network, config.precision)
            scale = min(1.0, SIDE / max(frame.image.shape[:2]))
            small = cv2.resize(frame.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            seen = see(self._network, self._config, Given(frame), None, None, None)
            self._pictures[frame.index] = _Picture(small, _costs(small), seen)
            while len(self._pictures) > KEPT:
                self._pictures.popitem(last=False)
        return self._pictures[frame.index]

    def _begun(self, picture: _Picture, own: np.ndarray, others: np.ndarray, last: np.ndarray) -> np.ndarray:
        border = np.pad(np.zeros((own.shape[0] - 2, own.shape[1] - 2), bool), 1, constant_values=True)
        score = _nearness(picture.costs, own, others | border & ~own)  # at the border there is hardly an object
        return score > 0 if not last.any() else score + LAST * np.where(last, 1, -1) > 0

    def _zone(self, picture: _Picture, marks: Sequence[Mark], shape: Sequence[int], old: np.ndarray) -> np.ndarray:
        """Around each mark, so far as it may correct."""
        zone = np.zeros(old.shape, bool)
        for mark in marks:
            there, right = drawn([mark], shape, old.shape), old == mark.plus
            away = _distance(picture.costs, there)
            flat = cv2.distanceTransform((~there).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            ways = (away, PATH), (flat, STRAIGHT)
            zone |= np.all([d < reach * max(4.0, d[right].min(initial=np.inf)) for d, reach in ways], axis=0)
        return zone

    @torch.inference_mode()
    def _recognised(self, picture: _Picture, asked: Asked, rough: np.ndarray, times: int) -> np.ndarray:
        """What the network makes of a rough mask (h, w) bool, at full size. Where it contradicts a mark that corrects,
        the rough mask holds."""
        features, pixels = picture.seen.features, picture.seen.pixels
        shape, size = pixels.shape[:2], [8 * side for side in features.middle.shape[2:]]
        mask = F.interpolate(torch.from_numpy(rough).float()[None, None].to(pixels.device), size=size, mode="area")
        with autocast(pixels.device, self._config.precision):
            for _ in range(times if rough.any() else 0):
                mask = self._network.start(features, mask)[0].objects.float().sigmoid()
        answer, rough = mask[0, 0].cpu().numpy(), _resized(rough, size) > 0.5
        for plus in (True, False):
            marked = asked.drawn(plus, shape, size)
            if asked.corrects:
                answer[_parts(((answer > 0.5) != plus) & (rough == plus), marked)] = plus
            answer[_around(marked, SURE)] = plus
        mask = torch.from_numpy(answer)[None].to(pixels.device)
        full = torch.zeros(1, *shape, device=pixels.device)
        return assembled(guided_upsampling(mask, picture.seen.colours, pixels), full)[0].cpu().numpy() > 0.5


def _around(drawn: np.ndarray, share: float) -> np.ndarray:
    """What is so near, as a share of the width."""
    away = cv2.distanceTransform((~drawn).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return drawn.any() & (away < max(1.5, share * drawn.shape[1]))


def _resized(mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    smaller = size[0] < mask.shape[0]
    return cv2.resize(
        mask.astype(np.float32), tuple(size[::-1]), interpolation=[cv2.INTER_LINEAR, cv2.INTER_AREA][smaller]
    )


def _parts(mask: np.ndarray, touched: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that are touched."""
    parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)[1]
    return mask & np.isin(parts, np.unique(parts[touched & mask]))


def _changed(before: np.ndarray, found: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """The mask before, with what is found in the zone, and with the changes that reach into it."""
    result = before.copy()
    for change, value in ((found & ~before, True), (before & ~found, False)):
        wide = cv2.morphologyEx(change.view(np.uint8), cv2.MORPH_OPEN, np.ones((THIN, THIN), np.uint8)) > 0
        result[_parts(wide, zone) | (change & zone)] = value
    return result


def _by_colour(small: np.ndarray, others: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """The object that fills a box, by its colours (GrabCut)."""
    mask = np.full(outside.shape, cv2.GC_PR_FGD, np.uint8)
    mask[outside | _around(others, DOT)] = cv2.GC_BGD
    if min(outside.sum(), (mask == cv2.GC_PR_FGD).sum()) >= 5:  # colours that it needs to begin with
        cv2.setRNGSeed(0)  # the same box, the same object
        cv2.grabCut(small, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
    return mask == cv2.GC_PR_FGD


def _nearness(costs: csr_array, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How much nearer each pixel is to ``own`` than to ``others``, from -1 to 1."""
    here, there = _distance(costs, own), _distance(costs, others)
    return (there - here) / (there + here + 1e-6)


def _distance(costs: csr_array, sources: np.ndarray) -> np.ndarray:
    if not sources.any():
        return np.full(sources.shape, 1e9)
    found = dijkstra(costs, directed=False, indices=np.flatnonzero(sources), min_only=True)
    return np.minimum(found, 1e9).reshape(sources.shape)


def _costs(image: np.ndarray) -> csr_array:
    """What a step from each pixel of an image (h, w, 3) uint8 RGB to its eight neighbours costs: (h w, h w)."""
    height, width = image.shape[:2]
    smooth = cv2.GaussianBlur(image, (0, 0), 1).astype(np.float32) / 255
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    number = np.arange(height * width).reshape(height, width)
    steps = [(number[:, 1:], number[:, :-1], 1.0), (number[1:], number[:-1], 1.0)]
    steps += [(number[1:, 1:], number[:-1, :-1], 2**0.5), (number[1:, :-1], number[:-1, 1:], 2**0.5)]
    here = np.concatenate([a.ravel() for a, _, _ in steps])
    there = np.concatenate([b.ravel() for _, b, _ in steps])
    length = np.concatenate([np.full(a.size, far) for a, _, far in steps])
    cost = length + EDGE * np.linalg.norm(lab[here] - lab[there], axis=1)
    return coo_array((cost, (here, there)), shape=(height * width,) * 2).tocsr()

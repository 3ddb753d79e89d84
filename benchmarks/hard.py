"""Held-out DAVIS-2016 train sequences as they are and made hard: J and F of each kind of difficulty.

    python benchmarks/hard.py --data ../shared/data --weights stesa

Kinds: plain; alike (the object once more, mirrored, comes in behind it in frame 4, with a motion of its own); hidden (a
post goes past in front of it); turned (it shows another side, which looks like another sequence's object); lost (in
frames 2 to 6 the right or the lower half of its mask is not propagated); covered (parts of the object are covered in
the first frame); smoke (smoke, dust or a shadow moves with it); pan (the camera goes past it). All but plain are drawn
twice for each sequence. The frames (576×324) are enlarged to 854×480. None of this is trained on."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from composites import HELD_OUT, frames_of, similarity
from quality import enlarged
from torch import Tensor

from stesa_cli.data import davis
from stesa_cli.data.flaws import cover
from stesa_cli.data.motion import Layer, moved, over, trail, turn
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.metrics.boundary import contour_accuracy
from stesa_cli.metrics.region import region_similarity
from stesa_cli.model.network import Network
from stesa_cli.model.state import Features, State

ENTRY, TRIES = 4, 30
LOSING = range(2, 7)


def pan(layer: Layer, chosen: int, random: np.random.Generator) -> None:
    """The camera goes past the object ``chosen`` of ``layer``, in place: what is seen is a part of the frames, enlarged
    by a factor of 1.3 to 2, that the object crosses, so that new background comes into view."""
    size = np.array(layer[0][1].shape[::-1])
    scale = random.uniform(1.3, 2)
    half = size / scale / 2
    aside = random.uniform(-0.8, 0.8, 2) * half
    centre = size / 2
    for t, ((image, labels), share) in enumerate(zip(layer, np.linspace(1, -1, len(layer)), strict=True)):
        places = np.argwhere(labels == chosen)
        centre = places.mean(0)[::-1] if len(places) else centre
        middle = np.clip(centre + share * aside, half, size - half)
        zoom, around = np.hstack([scale * np.eye(2), (size / 2 - scale * middle)[:, None]]), labels.shape[::-1]
        layer[t] = cv2.warpAffine(image, zoom, around), cv2.warpAffine(labels, zoom, around, flags=cv2.INTER_NEAREST)


CHANGES = {"covered": cover, "smoke": trail, "pan": pan}
KINDS = ("plain", "alike", "hidden", "turned", "lost", *CHANGES)


def clip(sequence: VideoSequence, frames: int, kind: str, seed: int, other: VideoSequence) -> Layer:
    """Frames (H, W, 3) uint8 RGB with label maps (H, W) uint8 of one object; it may turn into that of ``other``."""
    layer = frames_of(sequence, frames)
    random = np.random.default_rng(7 * seed + 11)
    if kind in CHANGES:
        CHANGES[kind](layer, 1, random)
    elif kind == "alike":
        _double(layer, random)
    elif kind == "hidden":
        _hide(layer, random)
    elif kind == "turned":
        x, y, width, height = cv2.boundingRect(other.labels(0))
        turn(layer, 1, other.image(0)[y : y + height, x : x + width], random)
    return layer


def _double(layer: Layer, random: np.random.Generator) -> None:
    mirrored, size = [(image[:, ::-1], labels[:, ::-1]) for image, labels in layer], layer[0][1].shape
    for _ in range(TRIES):
        other = moved(mirrored, random, elastic=False, size=size, spread=0.3, border=False)
        if (other[ENTRY][1] > 0).sum() >= 100 and not (other[ENTRY][1] & layer[ENTRY][1]).any():
            break
    for t in range(ENTRY, len(layer)):
        image, mask = other[t]
        layer[t] = over(layer[t], image, mask * (layer[t][1] == 0), 0)


def _hide(layer: Layer, random: np.random.Generator) -> None:
    """The post has a half to the whole of the object's width and takes two thirds of the clip to go past it."""
    width, way = int(random.uniform(0.5, 1) * cv2.boundingRect(layer[0][1])[2]), random.choice([-1, 1])
    wood = cv2.resize(random.integers(40, 160, (8, 5, 3), np.uint8), (width, len(layer[0][0])))
    for t, (image, labels) in enumerate(layer):
        x, _, across, _ = cv2.boundingRect(labels)
        share = 1.5 * way * (t / len(layer) - 0.55)
        left = int(x + across / 2 + share * (across + width) - width / 2)
        part = slice(max(0, left), max(0, left + width))
        image[:, part] = wood[:, max(0, -left) :][:, : image[:, part].shape[1]]
        labels[:, part] = 0


def _lose(network: Network, axis: int) -> None:
    """Have the half of the object's mask behind its centre, along an axis (0: y, 1: x), not propagated."""
    advance = network.advance

    def losing(features: Features, state: State, masks: Tensor, present: Tensor, prompted: bool = False) -> State:
        if state.frames in LOSING and (places := torch.nonzero(masks[0, 0] > 0.5)[:, axis]).numel():
            masks = masks.clone()
            masks.movedim(2 + axis, 0)[int(places.float().mean()) :] = 0
        return advance(features, state, masks, present, prompted)

    network.advance = losing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", default="stesa")
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--finetune", action="store_true")
    args = parser.parse_args()
    config = InferenceConfig.preset(size=args.size, finetune=args.finetune)
    train = {sequence.name: sequence for sequence in davis.sequences(args.data, 2016, "train")}
    means = []
    for kind in args.kinds:
        runs = []
        for name, seed in ((name, seed) for name in HELD_OUT for seed in range(1 if kind == "plain" else 2)):
            segmenter = Segmenter.load(args.weights, config)
            other = train[HELD_OUT[(HELD_OUT.index(name) + 1 + seed) % len(HELD_OUT)]]
            frames = list(enlarged(clip(train[name], args.frames, kind, seed, other)))
            if kind == "lost":
                if config.finetune:  # which makes a network of its own
                    segmenter.finetune(*frames[0])
                _lose(segmenter.network, 1 - seed)
            runs.append(similarity(segmenter, frames, (region_similarity, contour_accuracy))[:, 0])
        means.append(np.mean(runs, axis=0))
        print("{}: J {:.4f}, F {:.4f}".format(kind, *means[-1]), flush=True)
    print("mean: J {:.4f}, F {:.4f}".format(*np.mean(means, axis=0)))


if __name__ == "__main__":
    main()

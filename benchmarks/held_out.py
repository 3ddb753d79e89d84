"""J and F of weights on what no training has seen, of six kinds, each one part of the mean that choices are made on.

    python benchmarks/held_out.py --data DATA --weights stesa

Kinds: davis (six DAVIS-2016 train sequences), whole (all frames of these: what is right for 16 may be lost after 60),
schoolgirls (of DAVIS-2017, seven objects), composites (the objects of two more held-out sequences over the frames of a
third, so that they cross and cover each other), rendered (the clips that the default config holds out) and photographs
(those of COCO that it holds out, set in motion). Nothing is finetuned. As it is, for quick decisions: size 256, the
first 16 frames, a third of the photographs; the whole thing with --size 480 --frames 100 --photographs 100."""

import argparse
import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import cv2
import numpy as np

from stesa_cli.data import davis, folder, stills
from stesa_cli.data.motion import Layer, moved, over
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import object_ids
from stesa_cli.metrics.boundary import contour_accuracy
from stesa_cli.metrics.region import region_similarity
from stesa_cli.video.reading import Frame

SEQUENCES = ("bmx-bumps", "car-turn", "dance-jump", "kite-walk", "mallard-fly", "scooter-gray")
COMPOSED = ("bmx-bumps", "dance-jump", "scooter-gray")
RENDERED, PHOTOGRAPHS = "0*7", "coco_*/*7"
WHOLE = 100
MOVED, OBJECTS, AREA = 6, 4, 0.005
"""Of a photograph: frames, objects at most (the largest), share of it that an object covers at least."""


def layer(sequence: VideoSequence, frames: int) -> Layer:
    """The first frames (H, W, 3) uint8 RGB with label maps (H, W) uint8."""
    return [(sequence.image(i), sequence.labels(i)) for i in range(len(sequence.frames))[:frames]]


def composite(layers: list[Layer]) -> Layer:
    """Object i is that of layer i, later ones on top; each keeps its own motion."""
    composed = []
    for (image, labels), *others in zip(*layers, strict=False):
        for number, (other, mask) in enumerate(others, 2):
            size = image.shape[1::-1]
            other = cv2.resize(other, size, interpolation=cv2.INTER_AREA)
            mask = cv2.resize((mask == 1).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            image, labels = over((image, labels), other, mask, number)
        composed.append((image, labels))
    return composed


def photograph(still: VideoSequence, seed: int) -> Layer:
    """Its largest objects in motion."""
    image, labels = still.image(0), still.labels(0)
    areas = np.bincount(labels.ravel(), minlength=256)[1:255]
    largest = [i + 1 for i in np.argsort(-areas)[:OBJECTS] if areas[i] >= AREA * labels.size]
    labels = np.where(np.isin(labels, largest), labels, 0).astype(np.uint8)
    return moved([(image, labels)] * MOVED, np.random.default_rng(seed), elastic=True)


def clips(data: Path, frames: int, photographs: int) -> dict[str, Iterator[Layer]]:
    """By kind."""
    train = {s.name: s for s in davis.sequences(data, 2016, "train")}
    girls = next(s for s in davis.sequences(data, 2017, "train") if s.name == "schoolgirls")
    rendered = [s for s in folder.sequences(data, "rendered") if fnmatchcase(s.name, RENDERED)]
    coco = [s for s in stills.sequences(data) if fnmatchcase(s.name, PHOTOGRAPHS)][:: max(1, 100 // photographs)]
    turns = [[COMPOSED[(i + step) % len(COMPOSED)] for step in range(len(COMPOSED))] for i in range(len(COMPOSED))]
    return {
        "davis": (layer(train[name], frames) for name in SEQUENCES),
        "whole": (layer(train[name], WHOLE) for name in SEQUENCES),
        "schoolgirls": iter([layer(girls, 2 * frames)]),
        "composites": (composite([layer(train[name], frames) for name in turn]) for turn in turns),
        "rendered": (layer(s, frames) for s in rendered),
        "photographs": (photograph(s, seed) for seed, s in enumerate(coco)),
    }


def score(segmenter: Segmenter, clip: Layer) -> np.ndarray:
    """J and F, means over the objects, each over the frames after the one that shows it first."""
    measures: list[Callable[..., np.ndarray]] = [region_similarity, contour_accuracy]
    prompts, known, scores = {}, [], {}
    for t, (_, labels) in enumerate(clip):
        if new := [i for i in object_ids(labels) if i not in known]:
            prompts[t] = np.where(np.isin(labels, new), labels, 0).astype(np.uint8)
            known += new
    segmenter.reset()
    entered: list[int] = []
    for result in segmenter.propagate((Frame(image, t, t / 24) for t, (image, _) in enumerate(clip)), prompts):
        for i, *values in zip(
            entered, *(measure(clip[result.index][1], result.labels, entered) for measure in measures), strict=True
        ):
            scores.setdefault(i, []).append(values)
        entered += object_ids(prompts[result.index]) if result.index in prompts else []
    return np.mean([np.mean(values, axis=0) for values in scores.values()], axis=0) if scores else np.full(2, np.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", default="stesa")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--photographs", type=int, default=33)
    parser.add_argument("--json", type=Path, help="append the figures to this file, a line")
    args = parser.parse_args()
    segmenter = Segmenter.load(args.weights, InferenceConfig(size=args.size, finetune=False))
    means = {}
    for kind, layers in clips(args.data, args.frames, args.photographs).items():
        means[kind] = np.nanmean([score(segmenter, clip) for clip in layers], axis=0)
        print("{}: J {:.4f}, F {:.4f}".format(kind, *means[kind]), flush=True)
    means["mean"] = np.mean(list(means.values()), axis=0)
    print("mean: J {:.4f}, F {:.4f}".format(*means["mean"]))
    if args.json:
        line = {"weights": args.weights, "size": args.size, "frames": args.frames}
        with args.json.open("a") as file:
            file.write(json.dumps(line | {kind: mean.round(4).tolist() for kind, mean in means.items()}) + "\n")


if __name__ == "__main__":
    main()

"""Several objects: region similarity J on composites of held-out DAVIS-2016 train sequences, and on schoolgirls.

    python benchmarks/composites.py --data ../shared/data

A composite shows the objects of two more held-out sequences over the frames of a third, each in its own motion, so that
they cross and cover each other; the truth is what is left visible. Schoolgirls is a sequence of DAVIS-2017 with seven
objects. None of this is trained on."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from stesa_cli.data import davis
from stesa_cli.data.motion import Layer, over
from stesa_cli.data.sequence import VideoSequence
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.metrics.region import region_similarity
from stesa_cli.video.reading import Frame

HELD_OUT = ("bmx-bumps", "dance-jump", "scooter-gray")
"""No stage of the shipped weights has seen these."""
Measure = Callable[[np.ndarray, np.ndarray, Sequence[int]], np.ndarray]


def frames_of(sequence: VideoSequence, frames: int | None = None) -> Layer:
    """The first frames (H, W, 3) uint8 RGB, by default all, with label maps (H, W) uint8."""
    return [(sequence.image(i), sequence.labels(i)) for i in range(len(sequence.frames))[:frames]]


def composite(sequences: list[VideoSequence], frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames (H, W, 3) uint8 RGB with label maps (H, W) uint8: object i is that of sequence i, later ones on top."""
    for index in range(min(frames, *(len(sequence.frames) for sequence in sequences))):
        image, labels = sequences[0].image(index), sequences[0].labels(index)
        for number, sequence in enumerate(sequences[1:], 2):
            size = image.shape[1::-1]
            other = cv2.resize(sequence.image(index), size, interpolation=cv2.INTER_AREA)
            mask = cv2.resize(sequence.labels(index), size, interpolation=cv2.INTER_NEAREST)
            image, labels = over((image, labels), other, (mask == 1).astype(np.uint8), number)
        yield image, labels


def similarity(
    segmenter: Segmenter,
    clip: Sequence[tuple[np.ndarray, np.ndarray]],
    measures: Sequence[Measure] = (region_similarity,),
) -> np.ndarray:
    """The means of each measure (J, if not told otherwise) of each object, (measures, O); the segmenter is new, but may
    have been finetuned."""
    frames = (Frame(image, index, 0.0) for index, (image, _) in enumerate(clip))
    results = segmenter.propagate(frames, {0: clip[0][1]})
    next(results)  # what was given does not count
    scores = [[measure(clip[r.index][1], r.labels, r.ids) for measure in measures] for r in results]
    return np.mean(scores, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", default="stesa")
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--finetune", action="store_true")
    parser.add_argument("--only", default="", help="clips whose name holds this")
    args = parser.parse_args()
    config = InferenceConfig.preset(size=args.size, finetune=args.finetune)
    train = {sequence.name: sequence for sequence in davis.sequences(args.data, 2016, "train")}
    held_out = [train[name] for name in HELD_OUT]
    clips = {
        " + ".join(s.name for s in chosen): composite(chosen, args.frames)
        for chosen in ([held_out[(i + step) % len(held_out)] for step in range(3)] for i in range(len(held_out)))
    }
    girls = next(s for s in davis.sequences(args.data, 2017, "train") if s.name == "schoolgirls")
    clips["schoolgirls"] = iter(frames_of(girls))
    means = {}
    for name, frames in clips.items():
        if args.only not in name:
            continue
        (scores,) = similarity(Segmenter.load(args.weights, config), list(frames))
        means[name] = scores.mean()
        print(f"{name}: {' '.join(f'{100 * j:.1f}' for j in scores)}; mean {100 * scores.mean():.1f}", flush=True)
    composites = [mean for name, mean in means.items() if name != "schoolgirls"]
    if composites:
        print(f"J at size {args.size}: composites {100 * np.mean(composites):.1f}")


if __name__ == "__main__":
    main()

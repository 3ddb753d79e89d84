"""What each `--preset` of `stesa segment`, and finetuning, brings and costs on held-out DAVIS-2016 train sequences.

    python benchmarks/quality.py --data ../shared/data fast default
    python benchmarks/quality.py --data ../shared/data default --no-finetune

The time that finetuning takes is not counted in that of a frame. The frames (576×324) are enlarged to 854×480, the size
of most videos of the benchmark."""

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from composites import HELD_OUT, frames_of, similarity

from stesa_cli.data import davis
from stesa_cli.inference.config import InferenceConfig, Preset
from stesa_cli.inference.segmenter import Segmenter

SIZE = 854, 480


def enlarged(clip: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames (480, 854, 3) uint8 RGB with label maps (480, 854) uint8, from smaller ones."""
    for image, labels in clip:
        large = cv2.resize(image, SIZE, interpolation=cv2.INTER_CUBIC)
        yield large, cv2.resize(labels, SIZE, interpolation=cv2.INTER_NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+", choices=get_args(Preset))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", default="stesa")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--finetune", action=argparse.BooleanOptionalAction, help="instead of what the preset says")
    args = parser.parse_args()
    train = {sequence.name: sequence for sequence in davis.sequences(args.data, 2016, "train")}
    held_out = [train[name] for name in HELD_OUT]
    for preset in args.presets:
        config = InferenceConfig.preset(preset, finetune=args.finetune)
        scores, finetuning, took, count = {}, 0.0, 0.0, 0
        for sequence in held_out:
            clip = list(enlarged(frames_of(sequence, args.frames)))
            segmenter = Segmenter.load(args.weights, config)
            began = time.perf_counter()
            if config.finetune:
                segmenter.finetune(*clip[0])
            finetuning, began = finetuning + time.perf_counter() - began, time.perf_counter()
            scores[sequence.name] = float(similarity(segmenter, clip).mean())
            took, count = took + time.perf_counter() - began, count + len(clip)
        mean = 100 * np.mean(list(scores.values()))
        each = ", ".join(f"{name} {100 * j:.1f}" for name, j in scores.items())
        times = f"{finetuning / len(held_out):.0f} s to finetune, {took / count:.2f} s a frame"
        print(f"{preset}: J {mean:.1f}, {times} ({each})", flush=True)


if __name__ == "__main__":
    main()

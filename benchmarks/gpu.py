"""How fast the shipped model segments 1, 2, 5 and 10 objects in frames of 854×480, and the GPU memory that takes.

    python benchmarks/gpu.py --frames 60
    python benchmarks/gpu.py --device cpu --frames 5

The frames are synthetic: squares that move over a ground. Only steps are timed, from the frame on the host to the label
map on the host, when the memory has begun to fill; reading, finetuning and writing do not count."""

import argparse
import time

import cv2
import numpy as np
import torch

from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter

WIDTH, HEIGHT = 854, 480
COLUMNS, SIDE = 5, 90  # of the squares, in pixels
WARM_UP = 6


def clip(objects: int, frames: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames (480, 854, 3) uint8 RGB and the label map (480, 854) uint8 of the first one."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (2, 30, 54, 3), np.uint8)
    ground, things = (cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for coarse in noise)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for i in range(objects):
        y, x = 60 + 200 * (i // COLUMNS), 40 + 160 * (i % COLUMNS)
        labels[y : y + SIDE, x : x + SIDE] = i + 1
    layer = things, ground, labels[..., None] > 0
    moved = ([np.roll(each, way * t, 1) for each, way in zip(layer, (2, -1, 2), strict=True)] for t in range(frames))
    return [np.where(shown, thing, behind) for thing, behind, shown in moved], labels


def measure(segmenter: Segmenter, objects: int, frames: int) -> tuple[float, float]:
    """Frames a second, and the peak of GPU memory in MB (nan elsewhere)."""
    images, labels = clip(objects, WARM_UP + frames)
    cuda = segmenter.device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    segmenter.start(images[0], labels)
    for image in images[1:WARM_UP]:
        segmenter.step(image)
    began = time.perf_counter()
    for image in images[WARM_UP:]:
        segmenter.step(image)
    rate = frames / (time.perf_counter() - began)
    return rate, torch.cuda.max_memory_allocated() / 1e6 if cuda else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--weights", default="stesa")
    args = parser.parse_args()
    for size in (256, 480):
        segmenter = Segmenter.load(args.weights, InferenceConfig(size=size, finetune=False), args.device)
        for objects in (1, 2, 5, 10):
            rate, peak = measure(segmenter, objects, args.frames)
            print(f"size {size}, {objects:2d} objects: {rate:6.2f} frames/s, peak {peak:6.0f} MB", flush=True)


if __name__ == "__main__":
    main()

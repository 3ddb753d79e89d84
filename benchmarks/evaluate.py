"""How long scoring takes: J and F of the DAVIS-2016 val frames at 854×480, beside F straight from its definition.

python benchmarks/evaluate.py --data ../shared/data

The predictions are the truth of the next frame, so outlines differ as they do between methods. All masks are read
first; only scoring is timed.
"""

import argparse
import runpy
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from stesa_cli.masks import read_mask
from stesa_cli.metrics.boundary import contour_accuracy
from stesa_cli.metrics.region import region_similarity

DEFINITION = runpy.run_path(str(Path(__file__).parents[1] / "tests/metrics/reference.py"))["contour_accuracy"]


def measure(sequence: Path, every: int) -> np.ndarray:
    """Seconds spent on (J, F, F by definition) and the frames so treated (all, all, each ``every``-th): (2, 3)."""
    truths = [read_mask(path) for path in sorted(sequence.glob("*.png"))]
    seconds, frames = np.zeros(3), np.zeros(3)
    for index, (truth, predicted) in enumerate(zip(truths, truths[1:] + truths[-2:-1], strict=True)):
        start = time.perf_counter()
        region_similarity(truth, predicted, [1])
        middle = time.perf_counter()
        f = contour_accuracy(truth, predicted, [1])[0]
        end = time.perf_counter()
        seconds += (middle - start, end - middle, 0)
        frames += (1, 1, 0)
        if index % every == 0:
            start = time.perf_counter()
            expected = DEFINITION(truth == 1, predicted == 1)
            seconds[2] += time.perf_counter() - start
            frames[2] += 1
            assert f == expected, f"{sequence.name}, frame {index}: {f} is not {expected}"
    return np.stack([seconds, frames])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds davis2016/")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--every", type=int, default=20, help="the definition scores one frame in this many")
    args = parser.parse_args()
    root = args.data / "davis2016"
    sequences = [root / "Annotations/480p" / n for n in (root / "ImageSets/2016/val.txt").read_text().split()]
    with ProcessPoolExecutor(args.processes, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        parts = pool.map(measure, sequences, [args.every] * len(sequences))
        seconds, frames = np.sum(list(parts), axis=0)
    j, f, definition = seconds / frames
    print(f"{frames[0]:.0f} frames, {args.processes} processes; per frame and process:")
    print(f"J {j * 1e3:.2f} ms, F {f * 1e3:.2f} ms: all frames in {seconds[:2].sum() / args.processes:.1f} s")
    print(f"F by definition, scikit-image, {frames[2]:.0f} frames (equal results): {definition * 1e3:.1f} ms")
    print(f"definition / ours: {definition / f:.0f}× for F alone, {(definition + j) / (f + j):.0f}× for J and F")


if __name__ == "__main__":
    main()

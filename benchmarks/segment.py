"""How fast `stesa segment` is: end to end from the shell, and the network alone.

    python benchmarks/segment.py                                       # 256 and 480; 1, 2, 5 and 10 objects
    python benchmarks/segment.py --sizes 480 --source 1920x1080 --objects 2
    python benchmarks/segment.py --end-to-end --sizes 256 --objects 2 --frames 300
    python benchmarks/segment.py --end-to-end --sizes 64 --objects 2 --frames 200 2000   # is the peak of memory flat?
    python benchmarks/segment.py --device cuda

The frames are synthetic: squares that move over a ground. Steps go from the frame on the host to the label map on the
host; those of the network as it is trained, and as it is prepared for inference, take turns frame by frame, so that
other work on the machine slows them alike, and the ratio is the median of the frames' ratios. Overlapped is a frame of
`Segmenter.propagate`. The floor is the operations of a step over the rate at which the machine multiplies matrices in
the same precision. End to end is what the report says, without loading and finetuning; CPU time counts ffmpeg's,
too."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from stesa_cli.cli import keep_freed_memory
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import write_mask
from stesa_cli.runtime import autocast_dtype, find_device
from stesa_cli.video.reading import Frame
from stesa_cli.video.writing import video_writer

COLUMNS = 5  # of squares
WARM_UP = 12  # frames in which graphs are compiled and the memory begins to fill
Row = dict[str, Any]


def clip(objects: int, frames: int, width: int, height: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames (H, W, 3) uint8 RGB and the label map (H, W) uint8 of the first one."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (2, 30, 54, 3), np.uint8)
    ground, things = (cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) for coarse in noise)
    labels, side = np.zeros((height, width), np.uint8), height * 3 // 16
    for i in range(objects):
        y, x = height // 8 + height * 5 // 12 * (i // COLUMNS), width // 20 + width * 3 // 16 * (i % COLUMNS)
        labels[y : y + side, x : x + side] = i + 1
    layer = things, ground, labels[..., None] > 0
    moved = ([np.roll(each, way * t, 1) for each, way in zip(layer, (2, -1, 2), strict=True)] for t in range(frames))
    return [np.where(shown, thing, behind) for thing, behind, shown in moved], labels


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second, the best of many products of two square matrices."""
    one = torch.randn(2048, 2048, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(20):
        wait(device)
        began = time.perf_counter()
        one @ one
        wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def plain(config: InferenceConfig, args: argparse.Namespace) -> Segmenter:
    """With the network as it is trained."""
    segmenter = Segmenter.load(args.weights, config, args.device)
    segmenter._prepared = segmenter.network
    return segmenter


def operations(images: list[np.ndarray], labels: np.ndarray, config: InferenceConfig, args: argparse.Namespace) -> int:
    """Of the step of a frame."""
    segmenter = plain(config, args)
    segmenter.start(images[0], labels)
    for image in images[1:WARM_UP]:
        segmenter.step(image)
    with FlopCounterMode(display=False) as counter:
        segmenter.step(images[WARM_UP])
    return counter.get_total_flops()


def steps(size: int, objects: int, frames: int, args: argparse.Namespace) -> Row:
    """The network's steps, plain and prepared in turn."""
    images, labels = clip(objects, WARM_UP + frames, *args.source)
    config = InferenceConfig(size=size, finetune=False, precision=args.precision)
    device = find_device(args.device)
    dtype = autocast_dtype(device, args.precision) or torch.float32
    needed = operations(images, labels, config, args)
    floor = 1e3 * needed / matmul_rate(device, dtype)
    trained, ready = plain(config, args), Segmenter.load(args.weights, config, args.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    took: list[list[float]] = []
    for number, image in enumerate(images):
        took.append([])
        for segmenter in (trained, ready):
            began = time.perf_counter()
            segmenter.step(image, None if number else labels)
            took[-1].append(1e3 * (time.perf_counter() - began))
    ms = statistics.median(mine for _, mine in took[WARM_UP:])
    ratio = statistics.median(mine / first for first, mine in took[WARM_UP:])
    ready.reset()
    ended = [time.perf_counter() for _ in ready.propagate(map(Frame, images, count(), count()), {0: labels})]
    overlapped = 1e3 * statistics.median(np.diff(ended)[WARM_UP:])
    row: Row = {"size": size, "objects": objects, "frames": frames, "ms": ms, "of_plain": ratio}
    row |= {"overlapped_ms": overlapped}
    row |= {"Gflop": needed / 1e9, "floor_ms": floor, "of_floor": ms / floor}
    if device.type == "cuda":
        row["gpu_MB"] = torch.cuda.max_memory_allocated() / 1e6
    return row


def end_to_end(size: int, objects: int, frames: int, args: argparse.Namespace) -> Row:
    """Runs from the shell, the median one of ``--runs``."""
    images, labels = clip(objects, min(frames, 240), *args.source)
    there_and_back = images + images[-2:0:-1]  # so that a long video has no jump
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_mask(folder / "clip.png", labels)
        with video_writer(folder / "clip.mp4", Fraction(25)) as write:
            for number in range(frames):
                write(there_and_back[number % len(there_and_back)], number / 25)
        runs = [run(folder, str(number), size, args) for number in range(args.runs)]
    median = sorted(runs, key=lambda row: row["ms"])[args.runs // 2]
    return {"size": size, "objects": objects, "frames": frames, "frames/s": 1e3 / median["ms"], **median}


def run(folder: Path, name: str, size: int, args: argparse.Namespace) -> Row:
    """Of one command: ms a frame; CPU seconds of all of it, and seconds to the first mask, from the shell on; the peak
    of resident memory in MB."""
    output = folder / name
    options = ["--size", size, "--device", args.device, "--precision", args.precision]
    options += ["--weights", args.weights, "--no-finetune", "-o", output]
    command = [sys.executable, "-m", "stesa_cli", "segment", folder / "clip.mp4", *options]
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    ended = None
    while ended is None and not (output / "masks" / "00000.png").exists():
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        time.sleep(0.005)
    shown = time.perf_counter() - began
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    told = json.loads((output / "report.json").read_text())["timings"]["frames_per_second"]
    cpu = usage.ru_utime + usage.ru_stime
    return {"ms": 1e3 / told, "cpu_s": cpu, "first_s": shown, "rss_MB": usage.ru_maxrss / 1e3}


def table(title: str, rows: list[Row]) -> Table:
    made = Table(title=title, title_justify="left")
    for column in rows[0]:
        made.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        made.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 480])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--frames", type=int, nargs="+", default=[60])
    parser.add_argument("--source", default="854x480", help="size of the video")
    parser.add_argument("--end-to-end", action="store_true")
    parser.add_argument("--runs", type=int, default=3, help="of each command, end to end")
    parser.add_argument("--weights", default="stesa")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path, help="write all numbers here, too")
    args = parser.parse_args()
    args.source = tuple(map(int, args.source.split("x")))
    measure = end_to_end if args.end_to_end else steps
    keep_freed_memory()
    rows: list[Row] = []
    for size in args.sizes:
        for objects in args.objects:
            for frames in args.frames:
                rows.append(measure(size, objects, frames, args))
                print(*(f"{key}: {value}" for key, value in rows[-1].items()), sep=", ", file=sys.stderr, flush=True)
    title = "end to end" if args.end_to_end else "the network's steps"
    Console(width=120).print(table(f"{title}, {'×'.join(map(str, args.source))}", rows))
    if args.json:
        args.json.write_text(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows}))


if __name__ == "__main__":
    main()

"""Videos a minute with workers of Ray's against one process, and what Ray costs a video.

    python benchmarks/many.py                              # 8 clips of 48 frames, --preset fast
    python benchmarks/many.py --videos 24 --frames 100 --rounds 3

All settings run in turn, ``--rounds`` times, from the shell, on the same clips, which are the demo's first frames; of
each the median round is shown. ``start s`` is the time to the first mask, ``in all`` are videos a minute from the shell
on, ``at work`` from the first mask on. Below it, what a task that does nothing costs through one worker."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from rich.console import Console
from rich.table import Table

from stesa_cli.distribution.cluster import STORE, Share, cluster
from stesa_cli.distribution.crew import Crew
from stesa_cli.segmentation.many import Weights
from stesa_cli.video.reading import open_video
from stesa_cli.video.writing import video_writer

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
DEMO = Path(__file__).parents[1] / "assets" / "demo.mp4"
SETTINGS = {"1 process, 2 threads": (2, 0), "1 process, 1 thread": (1, 0)}
SETTINGS |= {"1 worker, 1 thread": (1, 1), "2 workers, 1 thread each": (1, 2)}
"""Threads, and workers of one each, 0 for none."""
Row = dict[str, float]


def make_clips(folder: Path, videos: int, frames: int) -> None:
    """The same clip under many names, with its mask beside it."""
    with open_video(DEMO) as reader, video_writer(folder / "clip0.mp4", reader.rate) as write:
        for frame in islice(reader, frames):
            write(frame.image, frame.time)
    for number in range(videos):
        if number:
            shutil.copy(folder / "clip0.mp4", folder / f"clip{number}.mp4")
        shutil.copy(DEMO.with_suffix(".png"), folder / f"clip{number}.png")


def run(folder: Path, videos: int, threads: int, workers: int) -> Row:
    """Of one command. A cluster of as many CPUs as workers is started first, as part of it."""
    output = folder / "all"
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "stesa_cli", "segment", str(folder / "*.mp4"), "-o", str(output)]
    command += ["--preset", "fast", "--device", "cpu"]
    began = time.perf_counter()
    cpus = {"num_cpus": workers, "object_store_memory": STORE, "include_dashboard": False}
    rays = Cluster(initialize_head=True, head_node_args=cpus) if workers else None
    if rays:
        command += ["--workers", str(workers), "--ray", rays.address]
    threaded = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, env=threaded, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(output.glob("*/masks/00000.png")):
        time.sleep(0.02)
    started = time.perf_counter() - began
    if process.wait():
        raise SystemExit(f"failed: {' '.join(command)}")
    took = time.perf_counter() - began
    if rays:
        rays.shutdown()
    return {"start s": started, "in all": 60 * videos / took, "at work": 60 * videos / (took - started)}


@dataclass(frozen=True)
class Nothing:
    """A task that takes no time."""

    name: str
    output: Path
    size: float = 0.0
    frames: int = 0
    inputs: tuple[Path, ...] = ()

    def run(self, *given: Any) -> None:
        """Do nothing."""


class Ear:
    """Hears when the first task begins."""

    began = 0.0

    def begin(self, agreed: dict[str, Any]) -> None:
        self.began = time.perf_counter()

    def frames(self, task: Any, place: str, done: int) -> None:
        """Nothing to keep."""

    def say(self, line: str) -> None:
        print(line, file=sys.stderr)


def overhead(folder: Path, tasks: int = 300) -> float:
    """Seconds a task that does nothing."""
    ear = Ear()
    with cluster(None):
        crew = Crew(Weights("stesa"), Share(1, 1, False), folder, ear)
        list(crew.run([Nothing(str(number), folder) for number in range(tasks)], lambda: False))
        return (time.perf_counter() - ear.began) / tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--frames", type=int, default=48, help="of each video")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all numbers here, too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder, args.videos, args.frames)
        rounds: dict[str, list[Row]] = {setting: [] for setting in SETTINGS}
        for _ in range(args.rounds):
            for setting, given in SETTINGS.items():
                rounds[setting].append(run(folder, args.videos, *given))
                print(setting, rounds[setting][-1], file=sys.stderr, flush=True)
        cost = overhead(folder)
    rows = {
        setting: {key: statistics.median(row[key] for row in found) for key in found[0]}
        for setting, found in rounds.items()
    }
    table = Table("setting", *rows["1 process, 2 threads"], title=f"{args.videos} videos of {args.frames} frames")
    for setting, row in rows.items():
        table.add_row(setting, *(f"{value:.1f}" for value in row.values()))
    Console().print(table)
    print(f"Ray takes {1000 * cost:.1f} ms a video")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "seconds_a_video": cost}, indent=1))


if __name__ == "__main__":
    main()

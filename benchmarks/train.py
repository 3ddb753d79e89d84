"""How fast the default model trains: 2 clips × 4 frames × 2 objects at 256×448, and what the loader takes of it.

python benchmarks/train.py --data ../shared/data --steps 30

The data are those of the default config's second stage (DAVIS-2016 and stills). The first steps, which allocate and
choose kernels, do not count.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from stesa_cli.data.sampling import ClipDataset
from stesa_cli.training.config import RunConfig
from stesa_cli.training.trainer import Trainer

WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--config", default="stesa")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "fp32"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    config = RunConfig.load(args.config).adapted(stages="2", steps=args.steps + WARM_UP)
    config = config.model_copy(update={"train": config.train.model_copy(update={"held_out": (), "imagenet": False})})
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, args.data, Path(folder), args.device, args.precision, args.workers, args.compile)
        reports = list(trainer.run())[WARM_UP:-1]  # the last one saves, too
    seconds = np.array([report.seconds for report in reports])
    waiting = sum(report.waiting for report in reports) / seconds.sum()
    stage = config.stages[0]
    print(f"{trainer.accelerator.device}, {trainer.accelerator.mixed_precision}, {args.workers} worker(s)")
    print(f"{stage.batch} clips of {stage.clip.length} frames, {stage.clip.size[0]}×{stage.clip.size[1]}")
    print(f"{1 / seconds.mean():.2f} steps/s, {reports[0].images / seconds.mean():.1f} images/s")
    print(f"seconds a step: median {np.median(seconds):.3f}, 5 % to 95 % {np.quantile(seconds, [0.05, 0.95]).round(3)}")
    sources = [(weight, trainer.data.sources[name]) for name, weight in stage.sources.items()]
    clips = ClipDataset(sources, stage.clip, 0, 20)
    started = time.perf_counter()
    for number in range(len(clips)):
        clips[number]
    clip = (time.perf_counter() - started) / len(clips)
    print(f"waiting for data: {waiting:.2%} of the time; a worker prepares a clip in {clip * 1e3:.0f} ms")


if __name__ == "__main__":
    main()

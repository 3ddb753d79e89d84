"""The paper's tables at a scale that a small machine affords: one smaller encoder, DAVIS-2016 train, equal steps and
seeds for every row, J on held-out train sequences after the last step.

python benchmarks/ablations.py --table 3 --steps 600 --seeds 0 1

Tables 1 to 5 are the paper's; table 0 is the default model beside three of them, trained alike: the data and clips of
the default's first stage, the losses and rates of each. Its rows are scored on DAVIS-2016 val, too, without finetuning.
Run it again after an interruption: finished runs are read, an unfinished one goes on. The page is written from all runs
of that many steps in the run folder, so that tables can be run one after another; it shows those that are whole.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from textwrap import dedent, fill

from stesa_cli.data.sampling import ClipConfig
from stesa_cli.evaluation.score_files import read_json
from stesa_cli.files import write_text
from stesa_cli.metrics.summary import Measures
from stesa_cli.training.config import RunConfig
from stesa_cli.training.plots import read_metrics
from stesa_cli.training.trainer import Trainer


@dataclass(frozen=True)
class Row:
    name: str
    config: str
    paper: float | None  # J of the paper, DAVIS-2017 test-dev
    data: str = "davis2016"
    """One source, or ``mixed``: sources and clips of the default model's first stage."""

    @property
    def key(self) -> str:
        """What the folders of its runs begin with."""
        return f"{self.config}-{self.data}".removeprefix("paper/")


TABLES = {
    0: [
        Row("RVOS", "paper/rvos", 32.1, "mixed"),
        Row("GRU, one reset gate", "paper/gru_1gate", 34.2, "mixed"),
        Row("STESA-GRU", "paper/stesa_gru", 33.9, "mixed"),
        Row("the default model", "stesa", None, "mixed"),
    ],
    1: [
        Row("RVOS", "paper/rvos", 32.1),
        Row("STESA-GRU", "paper/stesa_gru", 33.9),
    ],
    2: [
        Row("STESA-GRU, pretrained only", "paper/stesa_gru", 40.1, "stills"),
        Row("the same without auxiliary loss", "paper/stesa_gru_no_aux", 40.8, "stills"),
    ],
    3: [Row("one reset gate", "paper/gru_1gate", 34.2), Row("two reset gates", "paper/gru_2gates", 30.1)],
    4: [
        Row("GRU, NLB after res3", "paper/gru_res3", 33.5),
        Row("GRU, NLB after res4", "paper/gru_res4", 32.4),
        Row("GRU, NLB after res5", "paper/gru_res5", 28.9),
        Row("LSTM, NLB after res3", "paper/lstm_res3", 30.0),
        Row("LSTM, NLB after res4", "paper/lstm_res4", 29.8),
        Row("LSTM, NLB after res5", "paper/lstm_res5", 30.6),
    ],
    5: [
        Row("one reset gate, NLB after res3, auxiliary loss", "paper/stesa_gru", 33.9),
        Row("two reset gates, NLB after res4, auxiliary loss", "paper/stesa_gru2_res4", 31.9),
    ],
}


def config_of(row: Row, seed: int, args: argparse.Namespace) -> RunConfig:
    """The row's model on the smaller encoder, its losses and rates; what the paper's stages say of data is reduced."""
    config, stesa = RunConfig.load(row.config), RunConfig.load("stesa")
    clip, sources = stesa.stages[0].clip, stesa.stages[0].sources
    if row.data != "mixed":
        clip = ClipConfig(length=4, objects=2, max_gap=2, zoom=(0.5, 1.0), paste=0.0, teacher_forcing=0.0)
        sources = {row.data: 1.0}
    clip = clip.model_copy(update={"size": tuple(args.size)})
    stage = config.stages[0].model_copy(update={"steps": args.steps, "sources": sources, "clip": clip, "batch": 2})
    train = {
        "seed": seed,
        "imagenet": not args.no_imagenet,
        "held_out": tuple(args.held_out or stesa.train.held_out),
        "validate_every": args.steps,
    }
    return RunConfig(
        model=config.model.model_copy(update={"encoder": args.encoder, "fold_batch_norm": True}),
        train=config.train.model_copy(update=train),
        stages=(stage,),
    )


def folder(row: Row, seed: int, args: argparse.Namespace) -> Path:
    return args.runs / str(args.steps) / f"{row.key}-{seed}"


def score(path: Path, steps: int) -> float | None:
    """J of a finished run."""
    metrics = path / "metrics.jsonl"
    lines = read_metrics(metrics) if metrics.is_file() else []
    return lines[-1].get("validation_J") if len(lines) == steps else None


def evaluate(path: Path, data: Path, size: int) -> None:
    """Score a finished run on DAVIS-2016 val, at a network size."""
    if not (result := path / f"val-{size}.json").is_file():
        options = f"--year 2016 --split val --no-finetune --size {size} --resume".split()
        paths = ["--data-root", data, "--weights", path / "best.safetensors", "--masks-dir", path / f"val-{size}"]
        command = [sys.executable, "-m", "stesa_cli", "evaluate", *options, *map(str, paths), "-o", str(result)]
        subprocess.run(command, check=True)


def on_val(paths: list[Path], size: int) -> str:
    """J / F / J&F (%) that ``evaluate`` found, means over those runs that have been scored."""
    found = [read_json(result).measures for path in paths if (result := path / f"val-{size}.json").is_file()]
    if not found:
        return "–"
    means = Measures.mean(found)
    return " / ".join(f"{100 * value:.1f}" for value in (means.J_mean, means.F_mean, means.JF_mean))


def page(args: argparse.Namespace) -> str:
    about = f"""
    The models of the paper's tables with the encoder `{args.encoder}` instead of ResNet-101: {args.steps} steps of 2
    clips × 4 frames × up to 2 objects at {args.size[0]}×{args.size[1]}, trained on DAVIS-2016 train (Table 2: on
    stills; the first table: on both), no pretraining but ImageNet. J (%) on held-out train sequences after the last
    step, network size 256, 40 frames: mean ± standard deviation over seeds; val: J / F / J&F on DAVIS-2016 val,
    means over seeds, without finetuning. The paper's column is J on DAVIS-2017 test-dev after its own, far longer
    training: compare the order of the rows, not the numbers. Made by `python benchmarks/ablations.py --steps
    {args.steps}` with each `--table`, and `--seeds` from 0 on, as many as a row has numbers."""
    lines = ["# Ablations at reduced scale", "", fill(dedent(about).strip(), 120)]
    for number, rows in TABLES.items():
        heads, body = ["row", "config", "J", "each seed", "paper"], []
        if number == 0:
            heads += [f"val, size {size}" for size in args.val]
        for row in rows:
            paths = sorted((args.runs / str(args.steps)).glob(f"{row.key}-*"))
            found = [100 * j for path in paths if (j := score(path, args.steps)) is not None]
            if found:
                spread = f" ± {stdev(found):.1f}" if len(found) > 1 else ""
                each = ", ".join(f"{j:.1f}" for j in found)
                cells = [row.name, f"`{row.config}`", f"{mean(found):.1f}{spread}", each, str(row.paper or "–")]
                if number == 0:
                    cells += [on_val(paths, size) for size in args.val]
                body.append(cells)
        if len(body) == len(rows):
            title = f"Table {number}" if number else "The default model beside the paper's"
            lines += ["", f"## {title}", ""]
            lines += [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *body)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=int, nargs="+", choices=TABLES, default=[3])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--page", type=Path, default=Path("runs/ablations.md"))
    parser.add_argument("--encoder", default="tf_efficientnet_lite2")
    parser.add_argument("--no-imagenet", action="store_true")
    parser.add_argument("--size", type=int, nargs=2, default=[192, 352])
    parser.add_argument("--val", type=int, nargs="*", default=[256], help="network sizes for DAVIS-2016 val")
    parser.add_argument("--held-out", nargs="+", help="default: those of the config stesa")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    rows = dict.fromkeys(row for number in args.table for row in TABLES[number])
    for seed in args.seeds:
        for row in rows:
            path = folder(row, seed, args)
            if score(path, args.steps) is None:
                print(f"{row.name}, seed {seed}: {path}", flush=True)
                for report in Trainer(config_of(row, seed, args), args.data, path, args.device).run():
                    if report.step % 50 == 0 or report.validation:
                        print(f"  step {report.step}: loss {report.losses['total']:.3f}", flush=True)
            for size in args.val if row in TABLES[0] else ():
                evaluate(path, args.data, size)
            write_text(args.page, page(args))
    print(args.page.read_text())


if __name__ == "__main__":
    main()

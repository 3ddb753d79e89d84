"""``stesa evaluate``: J, F and J&F of the model, or of any method's masks, on a benchmark."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stesa_cli.commands.console import console, progress, table, warn
from stesa_cli.commands.many import RayOption, WorkersOption, predict_many
from stesa_cli.commands.options import (
    AdaptOption,
    DeviceOption,
    FinetuneOption,
    PresetOption,
    QualityOption,
    SizeOption,
    WeightsOption,
    inference_config,
    let_idle_threads_sleep,
)
from stesa_cli.commands.train import DataRoot
from stesa_cli.errors import ConfigError

if TYPE_CHECKING:
    from stesa_cli.data.sequence import VideoSequence
    from stesa_cli.evaluation.benchmark import Benchmark, Masks
    from stesa_cli.inference.config import InferenceConfig
    from stesa_cli.metrics.summary import DatasetScores

DatasetOption = Annotated[str, typer.Option(help="davis or youtube-vos.")]
YearOption = Annotated[
    int | None, typer.Option(help="DAVIS: 2016 (default) or 2017. YouTube-VOS: 2018 (default) or 2019.")
]
SplitOption = Annotated[str, typer.Option(help="train, val, test-dev, test-challenge, or another that is there.")]
JobsOption = Annotated[int | None, typer.Option(min=1, help="Processes that score.", show_default="one a CPU")]

evaluate = typer.Typer()


@evaluate.callback(invoke_without_command=True)
def score(
    context: typer.Context,
    dataset: DatasetOption = "davis",
    year: YearOption = None,
    split: SplitOption = "val",
    data_root: DataRoot = Path("data"),
    sequences: Annotated[str, typer.Option(help="Only these, such as bear,camel.")] = "",
    predictions: Annotated[
        Path | None, typer.Option(help="Score these masks, <sequence>/<frame>.png in a folder or zip; no model runs.")
    ] = None,
    weights: WeightsOption = "",
    config: Annotated[
        str | None, typer.Option(help="Score runs/<config>/best.safetensors, or see that the weights are of its model.")
    ] = None,
    preset: PresetOption = "default",
    size: SizeOption = None,
    finetune: FinetuneOption = None,
    quality: QualityOption = None,
    adapt: AdaptOption = None,
    device: DeviceOption = "auto",
    masks_dir: Annotated[
        Path | None, typer.Option(help="Folder for the model's masks.", show_default="DATASET-YEAR-SPLIT_stesa")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the sequences that are complete there.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file for all scores.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file for the scores of sequences and objects.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for figures.")] = None,
    zip_file: Annotated[
        Path | None,
        typer.Option("--zip", help="Zip to submit.", show_default="DATASET-YEAR-SPLIT.zip without truth, else none"),
    ] = None,
    old_check: Annotated[Path | None, typer.Option("--check", hidden=True)] = None,
    old_compare: Annotated[tuple[Path, Path] | None, typer.Option("--compare", hidden=True)] = None,
    jobs: JobsOption = None,
    workers: WorkersOption = None,
    ray: RayOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
) -> None:
    """Score the model, or the masks of any method, on DAVIS or YouTube-VOS; where the truth is secret, pack them."""
    if command := context.invoked_subcommand:
        sources = map(context.get_parameter_source, context.params)
        if any(source and source.name == "COMMANDLINE" for source in sources):
            raise typer.BadParameter(f"give the options of {command} after its name")
        return
    if old_compare:
        warn("--compare is now a command of its own: stesa evaluate compare A.json B.json")
        compare(*old_compare)
        return
    from stesa_cli.evaluation import score_files, submission
    from stesa_cli.evaluation.benchmark import find_masks, open_benchmark

    names = [name for part in sequences.split(",") if (name := part.strip())]
    benchmark = open_benchmark(dataset, year, split, data_root, names)
    if old_check:
        warn("--check is now a command of its own: stesa evaluate check ZIP --dataset …")
        _check(old_check, benchmark, jobs)
        return
    wants_scores = bool(output or csv or plots)
    if wants_scores and not benchmark.has_truth:
        raise typer.BadParameter(f"{benchmark.name} has no public truth: leave out --output, --csv and --plots")
    if predictions and (masks_dir or resume):
        raise typer.BadParameter("--predictions are scored as they are: leave out --masks-dir and --resume")
    if predictions and (workers or ray):
        raise typer.BadParameter("--predictions are scored by --jobs processes: leave out --workers and --ray")
    if zip_file and not benchmark.complete:
        raise typer.BadParameter("a zip to submit holds every sequence: leave out --sequences")
    if not (zip_file or benchmark.has_truth) and benchmark.complete:
        zip_file = Path(f"{benchmark.name}.zip")
    source = predictions or masks_dir or Path(f"{benchmark.name}_stesa")
    outputs = [path for path in (output, csv, zip_file) if path]
    if plots:
        from stesa_cli.evaluation import plots as figures

        outputs += [plots / name for name in figures.NAMES]
    if not (predictions or resume):
        outputs += [source / sequence.name for sequence in benchmark.sequences]
    if not overwrite:
        score_files.refuse_to_overwrite(outputs)

    made = None
    if not predictions:
        let_idle_threads_sleep()
        from stesa_cli.data.check import require_sound

        require_sound(benchmark.sequences)
        options = inference_config(preset, size, finetune, quality=quality, adapt=adapt)
        asked = benchmark, source, _weights(weights, config), options, device, resume
        made = predict_many(*asked, workers, ray) if workers or ray else _segment(*asked)
    if benchmark.has_truth:
        masks = find_masks(source, benchmark.sequences, foreign=bool(predictions))
        for note in masks.notes:
            warn(note)
        scores = _score(benchmark, masks, jobs)
        if output:
            score_files.write_json(output, scores, made)
        if csv:
            score_files.write_csv(csv, scores)
        if plots:
            with console.status("Drawing"):
                figures.draw(plots, scores, benchmark, masks)
    if zip_file:
        with _bar("Packing", benchmark) as advance:
            submission.write(zip_file, benchmark, source, _processes(jobs), advance)
        console.print(f"{zip_file} is ready to be submitted: {benchmark.frames} masks")


@evaluate.command()
def check(
    zip_file: Annotated[Path, typer.Argument(metavar="ZIP", help="The zip to submit.")],
    dataset: DatasetOption = "davis",
    year: YearOption = None,
    split: SplitOption = "val",
    data_root: DataRoot = Path("data"),
    jobs: JobsOption = None,
) -> None:
    """Check a zip by the rules of the benchmark's server."""
    from stesa_cli.evaluation.benchmark import open_benchmark

    _check(zip_file, open_benchmark(dataset, year, split, data_root), jobs)


@evaluate.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="Scores that --output wrote.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="Others.")],
) -> None:
    """Show two files of scores side by side."""
    from stesa_cli.evaluation.score_files import compare as pairs_of
    from stesa_cli.evaluation.score_files import read_json

    one, other = read_json(first), read_json(second)
    if alone := one.sequences.keys() ^ other.sequences.keys():
        warn(f"only sequences in both files are compared, not {', '.join(sorted(alone))}")
    sets = [f"{scores.dataset} {scores.year} {scores.split}" for scores in (one, other)]
    if sets[0] != sets[1]:
        warn(f"these are scores of {sets[0]} and of {sets[1]}, which differ in objects or in how they are counted")
    rows = []
    for name, a, b in pairs_of(one, other):
        pairs = ((a.J_mean, b.J_mean), (a.F_mean, b.F_mean), (a.JF_mean, b.JF_mean))
        cells = [cell for x, y in pairs for cell in (f"{x:.3f}", f"{y:.3f}", f"{y - x:+.3f}")]
        rows.append([name, *cells[:6], cells[-1]])
    columns = ["J A", "J B", "Δ J", "F A", "F B", "Δ F", "Δ J&F"]
    console.print(table(f"A {first}\nB {second}", ["sequence", *columns], rows, total=True))


def _check(path: Path, benchmark: "Benchmark", jobs: int | None) -> None:
    from stesa_cli.evaluation import submission

    with _bar("Checking", benchmark) as advance:
        submission.check(path, benchmark, _processes(jobs), advance)
    console.print(f"{path} fits: {len(benchmark.sequences)} sequences, {benchmark.frames} masks")


def _processes(jobs: int | None) -> int:
    return jobs or os.cpu_count() or 1


@contextmanager
def _bar(title: str, benchmark: "Benchmark") -> "Iterator[Callable[[VideoSequence], None]]":
    with progress("frames") as bar:
        task = bar.add_task(title, total=benchmark.frames)
        yield lambda sequence: bar.advance(task, len(sequence.frames))


def _weights(weights: str, config: str | None) -> str:
    if config is None:
        return weights or "stesa"
    from stesa_cli.checkpoint import find_weights, read
    from stesa_cli.training.config import RunConfig

    weights = weights or f"runs/{Path(config).stem}/best.safetensors"
    if read(find_weights(weights))[1] != RunConfig.load(config).model:
        raise ConfigError(f"is not of the model of config {config!r}", weights, "name the config it was trained with")
    return weights


def _segment(
    benchmark: "Benchmark", folder: Path, weights: str, options: "InferenceConfig", device: str, resume: bool
) -> dict[str, Any]:
    """Write the model's masks; returns how they were made."""
    with console.status("Loading"):
        from stesa_cli.evaluation.predictions import how_made, write_predictions
        from stesa_cli.inference.segmenter import Segmenter

        segmenter = Segmenter.load(weights, options, device)
    made = how_made(segmenter, weights)
    with progress("frames") as bar:
        task = bar.add_task("Segmenting", total=benchmark.frames)
        write_predictions(
            segmenter, benchmark.sequences, folder, made, resume, lambda frames: bar.advance(task, frames)
        )
    console.print(f"masks written to {folder}")
    return made


def _score(benchmark: "Benchmark", masks: "Masks", jobs: int | None) -> "DatasetScores":
    from stesa_cli.evaluation.scoring import score as score_masks

    with _bar("Scoring", benchmark) as advance:
        scores = score_masks(benchmark, masks, _processes(jobs), advance)
    rows = {**{name: found.measures for name, found in scores.sequences.items()}, "global": scores.measures}
    columns = ["J", "rec.", "decay", "F", "rec.", "decay", "J&F"]
    cells = [[name, *(f"{value:.3f}" for value in asdict(of).values())] for name, of in rows.items()]
    console.print(table(f"{benchmark.name}, {masks.path}", ["sequence", *columns], cells, total=True))
    if scores.seen is not None:
        groups = scores.categories(scores.seen).items()
        console.print("  ".join(f"{name} {value:.3f}" for name, value in groups if value is not None))
    return scores

"""``stesa segment``: videos and masks of their objects in, masks and videos out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import Progress, TaskID

from stesa_cli.commands.console import complain, console, interruptible, progress, table, warn
from stesa_cli.commands.many import RayOption, WorkersOption, segment_many, summary_folder
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
    parse_rate,
)
from stesa_cli.errors import StesaError, printable
from stesa_cli.video.outputs import FORMATS

if TYPE_CHECKING:
    from stesa_cli.segmentation.report import SegmentReport


def segment(
    videos: Annotated[
        list[str] | None,
        typer.Argument(metavar="VIDEO...", help="Video files, folders of frames, or patterns such as 'clips/*.mp4'."),
    ] = None,
    camera: Annotated[int | None, typer.Option(help="A camera's number instead of videos; Ctrl-C ends it.")] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="The first frame's mask; FRAME=FILE is a later one's (from 0), which corrects objects or adds "
            "some; or a folder of masks. PNG, TIFF, BMP, WebP or GIF; JPEG in black and white. Repeatable.",
            show_default="the PNG beside the video",
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=X,Y,W,H", help="Begin an object from a box around it, ID@FRAME= in a later frame. Repeatable."
        ),
    ] = None,
    min_area: Annotated[int, typer.Option(min=0, help="Drop ids of fewer pixels from the given masks.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            show_default="<video>_stesa",
            help="Folder for the results; of several videos, for their folders.",
        ),
    ] = None,
    save: Annotated[str, typer.Option(help=f"What to write, of {', '.join(FORMATS)}.")] = "masks,objects,overlay",
    binary: Annotated[bool, typer.Option("--binary", help="masks/ holds all objects together, 0 or 255.")] = False,
    opacity: Annotated[float, typer.Option(min=0, max=1, help="Opacity of the tint in the overlay.")] = 0.5,
    contour: Annotated[
        int | None, typer.Option(min=0, help="Pixels of the outline in the overlay, 0 for none.", show_default="thin")
    ] = None,
    labels: Annotated[bool, typer.Option("--labels", help="Write the ids into the overlay.")] = False,
    preset: PresetOption = "default",
    size: SizeOption = None,
    finetune: FinetuneOption = None,
    both_ways: Annotated[
        bool, typer.Option("--both-ways", help="From the first mask also back to the start of the video.")
    ] = False,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    rate: Annotated[
        str, typer.Option(metavar="FPS", help="Frames per second of a folder of frames, such as 25 or 30000/1001.")
    ] = "24",
    pattern: Annotated[str, typer.Option(help="Which files of a folder are its frames, such as '*.jpg'.")] = "*",
    names: Annotated[
        Literal["frames", "index"], typer.Option(help="Name results after the frames of a folder, or count from 0.")
    ] = "frames",
    weights: WeightsOption = "stesa",
    device: DeviceOption = "auto",
    precision: Annotated[Literal["auto", "bf16", "fp16", "fp32"], typer.Option(help="Arithmetic.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results in the output folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with runs that were interrupted.")] = False,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Exit code 0 for a video that breaks off.")
    ] = False,
    workers: WorkersOption = None,
    ray: RayOption = None,
    quality: QualityOption = None,
    adapt: AdaptOption = None,
) -> None:
    """Segment every object of a video, from the mask of its first frame on."""
    if bool(videos) == (camera is not None):
        raise typer.BadParameter("give videos, or --camera with a number", param_hint="VIDEO")
    if camera is not None and (workers or ray):
        raise typer.BadParameter("are for videos", param_hint="--workers, --ray")
    let_idle_threads_sleep()
    with console.status("Loading"):
        from stesa_cli.segmentation.job import SegmentJob, segment_video
        from stesa_cli.segmentation.paths import find_inputs, masks_for, outputs_for
        from stesa_cli.segmentation.results import is_finished, was_truncated
        from stesa_cli.segmentation.run import Interrupted
        from stesa_cli.video.overlay import OverlayStyle

    kinds = tuple(kind.strip() for kind in save.split(","))
    if unknown := [kind for kind in kinds if kind not in FORMATS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose among {', '.join(FORMATS)}", param_hint="--save")
    if camera is not None and finetune is None and adapt is None:
        finetune = False  # a camera does not wait
    config = inference_config(preset, size, finetune, precision, quality, adapt)
    sources: list[Path | int] = [camera] if camera is not None else [*find_inputs(videos or [])]
    outputs = outputs_for(sources, output)
    jobs = [
        SegmentJob(
            source,
            masks_for(source, mask or [], boxed=bool(box), several=len(sources) > 1),
            outputs[source],
            boxes=tuple(box or ()),
            min_area=min_area,
            both_ways=both_ways,
            frames=frames,
            rate=parse_rate(rate),
            pattern=pattern,
            names=names,
            config=config,
            weights=weights,
            device=device,
            save=kinds,
            binary=binary,
            style=OverlayStyle(opacity, contour, labels),
        )
        for source in sources
    ]
    if workers or ray:
        folder = summary_folder(output, [job.output for job in jobs])
        segment_many(jobs, folder, workers, ray, overwrite, resume, allow_truncated)
        return
    failed = 0
    with interruptible() as stop:
        for job in jobs:
            if resume and is_finished(job.output):
                console.print(f"{printable(job.output)} is finished already", soft_wrap=True)
                failed += was_truncated(job.output) and not allow_truncated
                continue
            told: list[str] = []
            try:
                with progress("frames") as bar:
                    report = segment_video(
                        job,
                        overwrite,
                        resume,
                        _task(bar, f"Segmenting {printable(job.name)}"),
                        stop.is_set,
                        _task(bar, f"Finetuning to {printable(job.name)}", unit="steps"),
                        _start(told),
                    )
            except Interrupted as interruption:
                console.print(str(interruption))
                raise typer.Exit(130) from interruption
            except StesaError as error:
                if len(jobs) == 1:
                    raise
                failed += 1
                complain(error)
            else:
                failed += _show(report, told) and not allow_truncated
    if failed:
        raise typer.Exit(1)


def _task(bar: Progress, title: str, unit: str = "frames") -> Callable[[int, int | None], None]:
    task: list[TaskID] = []

    def show(done: int, of: int | None) -> None:
        if not task:  # no bar before there is something to show
            task.append(bar.add_task(title, total=None, completed=done, unit=unit))
        bar.update(task[0], completed=done, total=max(done, of or done))

    return show


def _start(told: list[str]) -> Callable[[str, Sequence[str]], None]:
    """Tells what was understood, and doubts about it before they cost a run; keeps these in ``told``."""

    def show(line: str, notes: Sequence[str]) -> None:
        console.print(line, soft_wrap=True)
        for note in notes:
            warn(note)
        told.extend(notes)

    return show


def _show(report: "SegmentReport", told: Sequence[str]) -> bool:
    """Tell of a run, but for what was ``told`` at its start; returns whether its video broke off."""
    rows = []
    for i in report.ids:
        areas, sure = report.areas(i), [c for c in report.confidence(i) if c is not None]
        mean = f"{sum(sure) / len(sure):.2f}" if sure else "–"
        rows.append(
            [str(i), f"{areas[report.given_at(i)]:,}", f"{areas[-1]:,}", f"{len(sure)} of {report.frames}", mean]
        )
    columns = ["id", "first area (px)", "last area (px)", "frames seen", "confidence"]
    console.print(table("Objects", columns, rows))
    console.print(
        f"{report.frames} frames at {report.frames_per_second:.1f} frames/s, written to {printable(report.job.output)}",
        soft_wrap=True,
    )
    for line in report.warnings:
        if line not in told:
            warn(line)
    return report.truncated

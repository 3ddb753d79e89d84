"""``stesa segment``: a video and its first mask in, masks and an overlay out."""

from pathlib import Path
from typing import Annotated

import typer

from stesa_cli.commands.console import console, progress, table, warn


def segment(
    video: Annotated[Path, typer.Argument(help="A video file, or a folder of frames.")],
    mask: Annotated[
        Path, typer.Option(help="PNG with the mask of the first frame: one id or palette colour an object.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", show_default="<video>_stesa", help="Folder for the results.")
    ] = None,
    size: Annotated[
        int, typer.Option(min=32, help="Short side at which the network sees the frames, in pixels.")
    ] = 480,
    weights: Annotated[str, typer.Option(help="Weights by name or .safetensors file.")] = "stesa",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results in the output folder.")] = False,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Exit code 0 for a video that breaks off.")
    ] = False,
) -> None:
    """Segment every object of a video, from the mask of its first frame on."""
    with console.status("Loading"):
        from stesa_cli.engine.video import SegmentJob, segment_video

    name = video.name if video.is_dir() else video.stem
    job = SegmentJob(
        video, mask, output or video.with_name(f"{name}_stesa"), size, weights, device, overwrite=overwrite
    )
    with progress("frames") as bar:
        task = bar.add_task("Segmenting", total=None)
        report = segment_video(job, lambda done, of: bar.update(task, completed=done, total=max(done, of or done)))
        bar.update(task, total=report.frames)
    rows = [
        [str(i), f"{areas[0]:,}", f"{areas[-1]:,}", f"{sum(a > 0 for a in areas)} of {report.frames}"]
        for i, areas in report.areas.items()
    ]
    console.print(table("Objects", ["id", "first area (px)", "last area (px)", "frames seen"], rows))
    console.print(f"{report.frames} frames at {report.frames_per_second:.1f} frames/s, written to {job.output}")
    if report.truncated:
        warn(f"{video} breaks off after {report.frames} frames: what it had is segmented")
        if not allow_truncated:
            raise typer.Exit(1)

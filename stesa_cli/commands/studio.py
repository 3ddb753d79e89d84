"""``stesa studio``: masks made and corrected in the browser."""

import secrets
import socket
import tempfile
import webbrowser
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stesa_cli.commands.console import console
from stesa_cli.commands.options import (
    DeviceOption,
    FinetuneOption,
    PresetOption,
    SizeOption,
    WeightsOption,
    inference_config,
    let_idle_threads_sleep,
    parse_rate,
)
from stesa_cli.errors import ConfigError, InputError


def studio(
    context: typer.Context,
    video: Annotated[Path, typer.Argument(help="A video file, a folder of frames, or results of stesa segment.")],
    mask: Annotated[
        list[str] | None, typer.Option(help="Begin with a mask: PNG, FRAME=PNG or a folder of masks. Repeatable.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", show_default="<video>_stesa", help="Folder of the results; with --frame, a PNG."
        ),
    ] = None,
    frame: Annotated[int | None, typer.Option(min=0, help="Only make the mask of this frame, and leave.")] = None,
    preset: PresetOption = "default",
    size: SizeOption = None,
    finetune: FinetuneOption = None,
    rate: Annotated[
        str, typer.Option(metavar="FPS", help="Frames per second of a folder of frames, such as 25 or 30000/1001.")
    ] = "24",
    pattern: Annotated[str, typer.Option(help="Which files of a folder are its frames, such as '*.jpg'.")] = "*",
    weights: WeightsOption = "stesa",
    device: DeviceOption = "auto",
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than this machine's own can be reached from outside.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Mark objects in the browser, propagate, correct, and export."""
    let_idle_threads_sleep()
    with console.status("Loading"):
        try:
            import uvicorn

            from stesa_cli.studio.guard import Guard
            from stesa_cli.studio.reopening import finished_job, is_results, take_results
            from stesa_cli.studio.server import Studio
            from stesa_cli.studio.session import Session
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("stesa_cli"):
                raise
            raise ConfigError(f"needs {error.name}", "stesa studio", "pip install 'stesa-cli[studio]'") from error
        from stesa_cli.segmentation.job import SegmentJob
        from stesa_cli.segmentation.mask_options import mask_files
        from stesa_cli.segmentation.paths import outputs_for
        from stesa_cli.video.seeking import SeekableVideo

    if frame is not None and (output is None or output.suffix.lower() != ".png"):
        raise typer.BadParameter("--frame needs -o with a PNG", param_hint="--output")
    with ExitStack() as stack:
        if reopened := is_results(video):
            _refuse_settings(context)
            asked = finished_job(video)
            assert isinstance(asked.video, Path)
            video = asked.video
        else:
            if frame is None:
                folder = outputs_for([video], output)[video]
            else:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            config, masks = inference_config(preset, size, finetune), tuple(mask or ())
            asked = SegmentJob(
                video, masks, folder, rate=parse_rate(rate), pattern=pattern, config=config, weights=weights
            )
        asked = replace(asked, device=device)
        frames = SeekableVideo(video, asked.rate, asked.pattern, mask_files(asked.masks))
        stack.callback(frames.close)
        if frame is not None and frame >= len(frames):
            raise InputError(f"has {len(frames)} frames, counted from 0", video, "choose another --frame")
        job = replace(asked, masks=(), boxes=(), min_area=0) if reopened else asked
        session = Session(job, frames)
        stack.callback(session.close)
        if reopened and session.is_new:
            with console.status("Reading the results"):
                take_results(session, asked)
        listening = stack.enter_context(socket.socket())
        try:
            listening.bind((host, 0))
            listening.listen()  # a browser that is faster than the server waits
        except OSError as error:
            raise ConfigError(f"cannot be listened on ({error.strerror})", f"--host {host}", "try 127.0.0.1") from error
        port, token = listening.getsockname()[1], secrets.token_urlsafe(24)

        def leave() -> None:
            server.should_exit = True

        names = {host, socket.gethostname()} if host != "127.0.0.1" else {host, "localhost"}
        app = Guard(Studio(session, frame, output, leave).app, token, {f"{name}:{port}" for name in names})
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        address = f"http://{host}:{port}/{token}/"
        console.print(f"{job.name}: {frames.reader.describe()}", soft_wrap=True)
        console.print(f"{address}  (Ctrl-C ends)", soft_wrap=True)
        if browser:
            webbrowser.open(address)
        server.run(sockets=[listening])


def _refuse_settings(context: typer.Context) -> None:
    """Results are opened with the settings that made them."""
    free = {"video", "device", "host", "browser"}
    sources = {name: context.get_parameter_source(name) for name in context.params.keys() - free}
    if given := sorted(name for name, source in sources.items() if source and source.name == "COMMANDLINE"):
        options = ", ".join(f"--{name}" for name in given)
        raise typer.BadParameter(f"{options}: results are opened with the settings that made them", param_hint="VIDEO")

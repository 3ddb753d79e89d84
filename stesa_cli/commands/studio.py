"""``stesa studio``: masks made and corrected in the browser."""

import secrets
import socket
import tempfile
import webbrowser
from contextlib import ExitStack
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
    parse_rate,
)
from stesa_cli.errors import ConfigError, InputError


def studio(
    video: Annotated[Path, typer.Argument(help="A video file, or a folder of frames.")],
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
    with console.status("Loading"):
        try:
            import uvicorn

            from stesa_cli.studio.guard import Guard
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
    config, speed, masks = inference_config(preset, size, finetune), parse_rate(rate), tuple(mask or ())
    with ExitStack() as stack:
        if frame is None:
            folder = outputs_for([video], output)[video]
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        job = SegmentJob(
            video, masks, folder, rate=speed, pattern=pattern, config=config, weights=weights, device=device
        )
        frames = SeekableVideo(video, speed, pattern, mask_files(masks))
        stack.callback(frames.close)
        if frame is not None and frame >= len(frames):
            raise InputError(f"has {len(frames)} frames, counted from 0", video, "choose another --frame")
        session = Session(job, frames)
        stack.callback(session.close)
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

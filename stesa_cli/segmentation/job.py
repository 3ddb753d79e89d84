"""The job of ``stesa segment``: a video and masks of some of its objects in; masks, videos and a report out."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from stesa_cli.checkpoint import Loaded
from stesa_cli.errors import ConfigError, InputError, Problems, StesaError
from stesa_cli.files import write_text
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.segmentation.paths import outputs_for
from stesa_cli.segmentation.prompts import Prompts
from stesa_cli.segmentation.report import SegmentReport
from stesa_cli.segmentation.results import REPORT, TIMELINE, WORK, check_room, clear
from stesa_cli.segmentation.run import Run, open_source
from stesa_cli.segmentation.timeline import draw_timeline
from stesa_cli.video.outputs import FORMATS
from stesa_cli.video.overlay import DEFAULT_STYLE, OverlayStyle
from stesa_cli.video.reading import FOLDER_RATE


@dataclass(frozen=True)
class SegmentJob:
    """What to segment, how, and where to put it.

    ``video`` is a file, a folder of frames or the number of a camera; ``masks`` and ``boxes`` are texts as on the
    command line (see ``segmentation.prompts``). Of a folder of frames, ``rate`` is frames per second, ``pattern``
    chooses its files, and results are named after its ``frames``, or by their ``index``. ``save`` is some of the
    FORMATS."""

    video: Path | int
    masks: tuple[str, ...]
    output: Path
    boxes: tuple[str, ...] = ()
    min_area: int = 0
    both_ways: bool = False
    frames: int | None = None
    rate: Fraction = FOLDER_RATE
    pattern: str = "*"
    names: Literal["frames", "index"] = "frames"
    config: InferenceConfig = field(default_factory=InferenceConfig)
    weights: str = "stesa"
    device: str = "auto"
    save: tuple[str, ...] = ("masks", "objects", "overlay")
    binary: bool = False
    style: OverlayStyle = DEFAULT_STYLE

    @property
    def name(self) -> str:
        return f"camera {self.video}" if isinstance(self.video, int) else self.video.name

    def to_dict(self) -> dict[str, Any]:
        """Plain values, those of ``config`` among the others."""
        settings = asdict(self) | {name: str(getattr(self, name)) for name in ("video", "output", "rate")}
        return json.loads(json.dumps(settings | settings.pop("config").model_dump()))


def segment(
    video: str | Path | int,
    masks: str | Path | Mapping[int, str | Path],
    output: str | Path | None = None,
    *,
    save: Sequence[str] = ("masks", "objects", "overlay"),
    config: InferenceConfig | None = None,
    weights: str = "stesa",
    device: str = "auto",
    overwrite: bool = False,
) -> SegmentReport:
    """``stesa segment`` in one call: segment a video file, a folder of frames or the camera of a number.

    ``masks`` is the PNG of the first frame, a folder of masks, or PNGs by the number of their frame; ``output`` the
    folder for the results, ``<video>_stesa`` beside the video if not given; ``save`` some of ``video.outputs.FORMATS``.
    Raises and returns as ``segment_video`` does."""
    source = video if isinstance(video, int) else Path(video)
    texts = [f"{t}={path}" for t, path in masks.items()] if isinstance(masks, Mapping) else [str(masks)]
    folder = outputs_for([source], None if output is None else Path(output))[source]
    job = SegmentJob(source, tuple(texts), folder, config=config or InferenceConfig(), save=tuple(save))
    return segment_video(replace(job, weights=weights, device=device), overwrite)


def segment_video(
    job: SegmentJob,
    overwrite: bool = False,
    resume: bool = False,
    on_frame: Callable[[int, int | None], None] = lambda done, of: None,
    stopped: Callable[[], bool] = lambda: False,
    on_finetune: Callable[[int, int], None] = lambda done, of: None,
    on_start: Callable[[str, Sequence[str]], None] = lambda line, notes: None,
    loaded: Loaded | None = None,
) -> SegmentReport:
    """Run the job in constant memory. ``on_start`` hears what was understood of video and masks, and doubts about them;
    ``on_finetune`` the steps of the finetuning; ``on_frame`` the frames done and, as a hint, how many there may be.
    ``loaded`` are the job's weights, where they need not be read anew.

    With ``resume``, a run that was interrupted goes on, and ends as if it had not been. Raises InputError for a video
    or mask that does not serve, OutputError when the folder holds results or is full, Interrupted soon after
    ``stopped``."""
    if isinstance(job.video, int) and (resume or job.both_ways):
        raise ConfigError("a camera shows nothing twice", fix="leave out --resume and --both-ways")
    for kind in job.save:
        FORMATS[kind].require()
    with ExitStack() as stack:
        problems, goes_on = Problems(), False
        with problems.noted():
            goes_on = check_room(job.output, job.video, overwrite, resume)
        with problems.noted():
            reader = stack.enter_context(open_source(job))
            prompts = Prompts(job.masks, job.boxes, (reader.height, reader.width), job.min_area, reader.names)
        problems.tell()
        if job.frames and prompts.frames[0] >= job.frames:
            what = f"the first mask is of frame {prompts.frames[0]}, but --frames {job.frames} stops before"
            raise InputError(what, str(job.video), "frames count from 0")
        run = Run(job, reader, prompts, on_frame, stopped, on_finetune, goes_on, loaded)
        on_start(run.report.understood, run.report.warnings_so_far)
        if not goes_on:
            clear(job.output)
        try:
            run.go()
        except StesaError:
            if not run.report.seen:  # nothing to go on with
                clear(job.output)
            raise
    report = run.report
    areas, confidence = ({i: each(i) for i in report.ids} for each in (report.areas, report.confidence))
    draw_timeline(job.output / TIMELINE, report.times, areas, confidence, reader.width * reader.height)
    write_text(job.output / REPORT, json.dumps(report.to_dict(), indent=1))
    shutil.rmtree(job.output / WORK, ignore_errors=True)
    return report

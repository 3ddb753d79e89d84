"""A finished results folder of ``stesa segment``, opened again: its masks become those of a session."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from stesa_cli.errors import InputError
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.segmentation.job import SegmentJob
from stesa_cli.segmentation.mask_options import parse_mask_option
from stesa_cli.segmentation.prompts import Prompts
from stesa_cli.segmentation.results import REPORT, is_finished
from stesa_cli.studio.session import Session
from stesa_cli.video.overlay import OverlayStyle

_SETTINGS = "min_area", "both_ways", "frames", "pattern", "names", "weights", "device", "binary"


def is_results(folder: Path) -> bool:
    """Whether a run has left its report there."""
    return (folder / REPORT).is_file()


def finished_job(folder: Path) -> SegmentJob:
    """The job of a finished run, as its report tells; files that are not where they were are looked for beside the
    folder. Raises InputError when the run is not finished, its report cannot be read, or its video is not found."""
    if not is_finished(folder):
        raise InputError("holds an interrupted run", folder, "finish it first: stesa segment … --resume")
    path = folder / REPORT
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        settings, given = report["settings"], report["input"]
        video, texts = given["video"], given["masks"]
        config = {name: settings[name] for name in InferenceConfig.model_fields if name in settings}
        job = SegmentJob(
            Path(video),
            tuple(texts),
            folder,
            boxes=tuple(settings["boxes"]),
            rate=Fraction(settings["rate"]),
            config=InferenceConfig(**config),
            save=tuple(settings["save"]),
            style=OverlayStyle(**settings["style"]),
            **{name: settings[name] for name in _SETTINGS},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("is no report of this version of stesa segment", path, "open the video instead") from error
    if (place := _found(job.video, folder)) is None:  # type: ignore[arg-type]
        fix = f"put it beside {folder}, or go to where stesa segment was run"
        raise InputError(f"is named in {REPORT}, but not found", video, fix)
    return replace(job, video=place, masks=tuple(_text(text, folder) for text in job.masks))


def take_results(session: Session, job: SegmentJob) -> None:
    """Begin a session with the masks that a finished job was given and has found. The latter are taken where ``masks``
    holds ids, else they are to be computed anew. Raises InputError when a file is missing."""
    reader = session.video.reader
    prompts = Prompts(job.masks, job.boxes, session.size, job.min_area, reader.names)
    for frame in prompts.frames:
        labels = prompts.labels(frame, session.video.frame(frame).image).labels
        if labels is not None:
            session.give(frame, labels)
    report = json.loads((job.output / REPORT).read_text(encoding="utf-8"))
    known = {each["id"]: each for each in report["objects"]}
    seen = {}
    if "masks" in job.save and not job.binary:
        for frame in range(0 if job.both_ways else prompts.frames[0], report["frames"]):
            name = reader.names[frame] if reader.names and job.names == "frames" else f"{frame:05d}"
            _copy(job.output / "masks" / f"{name}.png", session.mask_path(frame))
            ids = session.given_until(frame)
            for i in ids if "soft" in job.save else ():
                _copy(job.output / f"soft/{i}/{name}.png", session.work / f"soft/{i}/{frame:05d}.png")
            seen[frame] = {i: (known[i]["areas"][frame], known[i]["confidence"][frame] or 0.0) for i in ids}
    session.begin()
    session.seen, session.seconds = seen, report["timings"]["seconds"]
    session.save()


def _found(path: Path, folder: Path) -> Path | None:
    """Where a file is: as it was named, or beside the folder of the results."""
    return next((place for place in (path, folder.resolve().parent / path.name) if place.exists()), None)


def _text(text: str, folder: Path) -> str:
    frame, path = parse_mask_option(text)
    found = _found(path, folder) or path
    return str(found) if frame is None else f"{frame}={found}"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise InputError("is missing among the results", source, "open the video instead") from error

"""Many videos as tasks of workers, and the table of what became of them."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stesa_cli.checkpoint import Loaded, digest, load_network
from stesa_cli.distribution.parcels import below
from stesa_cli.errors import InputError, StesaError
from stesa_cli.files import write_text
from stesa_cli.segmentation.job import SegmentJob, segment_video
from stesa_cli.segmentation.mask_options import parse_mask_option
from stesa_cli.segmentation.results import OVERWRITE, REPORT, check_room, clear, is_finished
from stesa_cli.segmentation.run import open_source

Row = dict[str, Any]
COLUMNS = ("video", "output", "frames", "objects", "lost_objects", "confidence", "seconds", "error")


@dataclass(frozen=True)
class Weights:
    """What a worker holds."""

    weights: str

    @cached_property
    def loaded(self) -> Loaded:
        return load_network(self.weights)

    def agreed(self) -> dict[str, Any]:
        return {"weights": digest(self.weights)}

    def settled(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class SegmentTask:
    """A job with what it reads and how large it is (see ``distribution.worker.Task``). Its result is a ``row``."""

    job: SegmentJob
    overwrite: bool
    resume: bool
    inputs: tuple[Path, ...]
    frames: int
    size: float

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def output(self) -> Path:
        return self.job.output

    def moved(self, root: Path) -> "SegmentTask":
        job = self.job
        assert isinstance(job.video, Path)
        masks = [parse_mask_option(text) for text in job.masks]
        texts = tuple(f"{'' if frame is None else f'{frame}='}{below(root, path)}" for frame, path in masks)
        job = replace(job, video=below(root, job.video), masks=texts, output=below(root, job.output))
        return replace(self, job=job, inputs=tuple(below(root, path) for path in self.inputs))

    def make_room(self) -> None:
        check_room(self.output, self.job.video, self.overwrite, self.resume)
        clear(self.output)

    def run(self, model: Weights, again: bool, on_frame: Callable[[int], None], stopped: Callable[[], bool]) -> Row:
        if not (again and not self.overwrite and is_finished(self.output)):
            segment_video(
                self.job,
                self.overwrite,
                self.resume or again,
                lambda done, of: on_frame(done),
                stopped,
                loaded=model.loaded,
            )
        return finished(self.output)


def plan(
    jobs: Sequence[SegmentJob], overwrite: bool, resume: bool, allow_truncated: bool
) -> tuple[list[SegmentTask], dict[Path, Row]]:
    """The tasks of what is to be done; and, by their folders, the rows of jobs that are finished already, with
    ``resume``, or whose folders are taken."""
    rows: dict[Path, Row] = {}
    for job in jobs:
        try:
            if resume and is_finished(job.output):
                rows[job.output] = row(job, finished(job.output), allow_truncated=allow_truncated)
            else:
                check_room(job.output, job.video, overwrite, resume)
        except StesaError as error:
            rows[job.output] = row(job, error=str(error))

    def task(job: SegmentJob) -> SegmentTask:
        assert isinstance(job.video, Path)
        try:
            with open_source(job) as reader:
                frames, pixels = reader.frame_count or 0, reader.width * reader.height
        except StesaError:  # its worker tells of it
            frames, pixels = 0, 0
        frames = min(frames, job.frames or frames)
        masks = (parse_mask_option(text)[1] for text in job.masks)
        inputs = (job.video, *(path for path in masks if path.exists()))
        return SegmentTask(job, overwrite, resume, inputs, frames, frames * pixels)

    with ThreadPoolExecutor() as pool:  # most of the time of each is that of an ffmpeg
        return list(pool.map(task, (job for job in jobs if job.output not in rows))), rows


def finished(output: Path) -> Row:
    """What a row says of the results in a folder, and whether the video was ``truncated``. Raises InputError."""
    try:
        told = json.loads((output / REPORT).read_text(encoding="utf-8"))
        objects, seconds = told["objects"], told["timings"]["seconds"]
        sure = [c for each in objects for c in each["confidence"] if c is not None]
        return {
            "frames": told["frames"],
            "objects": len(objects),
            "lost_objects": sum(bool(each["lost"]) for each in objects),
            "confidence": round(sum(sure) / len(sure), 4) if sure else None,
            "seconds": round(sum(seconds.values()), 2),
            "truncated": told["input"]["truncated"],
        }
    except (OSError, ValueError, KeyError) as error:
        raise InputError("is no report of stesa segment", output / REPORT, f"begin anew with {OVERWRITE}") from error


def row(job: SegmentJob, told: Mapping[str, Any] | None = None, error: str = "", allow_truncated: bool = False) -> Row:
    """What became of a job, as COLUMNS: what is told of its results, and the error, which a video that breaks off is,
    too, if not allowed."""
    found = dict.fromkeys(COLUMNS) | {"video": str(job.video), "output": str(job.output), **(told or {})}
    if found.pop("truncated", False) and not allow_truncated:
        error = f"{job.name}: breaks off after {found['frames']} frames: what it had is segmented"
    return found | {"error": error}


def write_summary(folder: Path, rows: Sequence[Row]) -> None:
    """``summary.json`` and ``summary.csv``, a row a video."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / "summary.csv", text.getvalue())
    write_text(folder / "summary.json", json.dumps(rows, indent=1))

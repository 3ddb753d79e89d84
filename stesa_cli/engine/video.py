"""The job of ``stesa segment``: a video and its first mask in; masks, objects, overlay and report out."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stesa_cli import __version__
from stesa_cli.engine.checkpoint import find_weights, load_network
from stesa_cli.engine.runtime import Precision
from stesa_cli.engine.segmentation import DEFAULT_SIZE, Segmenter
from stesa_cli.errors import InputError, OutputError
from stesa_cli.files import write_text
from stesa_cli.masks import label_map, read_mask
from stesa_cli.video.overlay import overlay
from stesa_cli.video.reading import VideoReader, open_video
from stesa_cli.video.writing import mask_writer, video_writer

RESULTS = ("masks", "objects", "overlay.mp4", "report.json")


@dataclass(frozen=True)
class SegmentJob:
    """What to segment, with what, and where to put it."""

    video: Path
    mask: Path
    output: Path
    size: int = DEFAULT_SIZE
    weights: str = "stesa"
    device: str = "auto"
    precision: Precision = "auto"
    overwrite: bool = False


@dataclass
class SegmentReport:
    """What ``report.json`` says: ``areas`` in pixels, per object id, one a frame."""

    job: SegmentJob
    width: int
    height: int
    rate: str
    areas: dict[int, list[int]]
    model: dict[str, Any]
    frames: int = 0
    truncated: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def frames_per_second(self) -> float:
        """End to end, from the first decoded frame to the last closed file, without loading the model."""
        return self.frames / self.seconds["segmenting"]

    def to_dict(self) -> dict[str, Any]:
        settings = {key: str(value) for key, value in asdict(self.job).items()}
        return {
            "version": __version__,
            "input": {
                "video": settings.pop("video"),
                "mask": settings.pop("mask"),
                "width": self.width,
                "height": self.height,
                "frames_per_second": self.rate,
                "truncated": self.truncated,
            },
            "frames": self.frames,
            "objects": [{"id": i, "areas": areas} for i, areas in self.areas.items()],
            "model": self.model,
            "settings": settings | {"size": self.job.size, "overwrite": self.job.overwrite},
            "timings": {"frames_per_second": self.frames_per_second, "seconds": self.seconds},
        }


def segment_video(
    job: SegmentJob, on_frame: Callable[[int, int | None], None] = lambda done, of: None
) -> SegmentReport:
    """Run the job in constant memory; ``on_frame`` hears the frames done and, as a hint, how many there may be.

    Raises InputError for a video or mask that does not serve, OutputError when the folder holds results or is full."""
    labels = read_mask(job.mask)
    with open_video(job.video) as reader:
        _check_mask(job, reader, labels)
        _clear(job)
        begun = time.perf_counter()
        network, info = load_network(job.weights)
        segmenter = Segmenter(network, job.size, job.device, job.precision)
        loaded = time.perf_counter()
        model = {"weights": str(find_weights(job.weights)), "config": network.config.model_dump(), "info": info}
        report = SegmentReport(job, reader.width, reader.height, str(reader.rate), {}, model)
        _write_frames(job, reader, segmenter, labels, report, on_frame)
        report.truncated = reader.truncated_at is not None
        report.seconds = {"loading": loaded - begun, "segmenting": time.perf_counter() - loaded}
    write_text(job.output / "report.json", json.dumps(report.to_dict(), indent=1))
    return report


def _write_frames(
    job: SegmentJob,
    reader: VideoReader,
    segmenter: Segmenter,
    labels: np.ndarray,
    report: SegmentReport,
    on_frame: Callable[[int, int | None], None],
) -> None:
    sound = None if job.video.is_dir() else job.video
    with (
        mask_writer(job.output) as write_masks,
        video_writer(job.output / "overlay.mp4", reader.rate, sound) as write_video,
    ):
        for frame in reader:
            if frame.index == 0:
                probabilities = segmenter.start(frame.image, labels)
                report.areas = {i: [] for i in segmenter.ids}
            else:
                probabilities = segmenter.step(frame.image)
            predicted = label_map(probabilities, segmenter.ids)
            write_masks(frame.index, predicted, segmenter.ids)
            write_video(overlay(frame.image, predicted), frame.time)
            counts = np.bincount(predicted.ravel(), minlength=256)
            for i, areas in report.areas.items():
                areas.append(int(counts[i]))
            report.frames += 1
            on_frame(report.frames, reader.frame_count)


def _check_mask(job: SegmentJob, reader: VideoReader, labels: np.ndarray) -> None:
    if labels.shape != (reader.height, reader.width):
        sizes = f"is {labels.shape[1]}×{labels.shape[0]}, but the video {reader.width}×{reader.height}"
        raise InputError(sizes, job.mask, "give a mask of the video's size, as it is seen upright")
    if not labels.any():
        raise InputError("holds no object", job.mask, "mark each object with its own id from 1 to 254")


def _clear(job: SegmentJob) -> None:
    old = [job.output / name for name in RESULTS if (job.output / name).exists()]
    if old and not job.overwrite:
        raise OutputError("holds results already", job.output, "choose another --output, or add --overwrite")
    for path in old:
        shutil.rmtree(path) if path.is_dir() else path.unlink()

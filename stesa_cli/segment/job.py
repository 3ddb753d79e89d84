"""The job of ``stesa segment``: a video and masks of some of its objects in; masks, videos and a report out.

Results of single frames are written as they come, in stretches after each of which the state is kept in the folder
``.stesa`` of the output folder. A run that goes on reads there what is done, so that its videos hold it too; a pass
backwards, before the one forwards, leaves its frames to that in the same way."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stesa_cli import checkpoint
from stesa_cli.checkpoint import find_weights, load_network
from stesa_cli.errors import ConfigError, InputError, OutputError, StesaError
from stesa_cli.files import sweep, write_text
from stesa_cli.inference.config import EFFORTS
from stesa_cli.inference.finetune import adapt
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import label_map, read_mask
from stesa_cli.segment.prompts import Given
from stesa_cli.segment.report import KINDS, SegmentJob, SegmentReport
from stesa_cli.segment.timeline import draw_timeline
from stesa_cli.video.camera import open_camera
from stesa_cli.video.exchange import npz_writer, require_pycocotools, rle_writer
from stesa_cli.video.overlay import overlay
from stesa_cli.video.reading import Frame, VideoReader, open_video
from stesa_cli.video.writing import alpha_writer, mask_writer, read_soft, soft_writer, video_writer

REPORT, TIMELINE, WORK = "report.json", "timeline.png", ".stesa"
STRETCH = 15.0  # seconds of work that a killed run loses at most
BLOCK = 256e6  # bytes of frames that a pass backwards decodes at a time

Soft = dict[int, np.ndarray]
"""The probability (H, W) uint8, 0 to 255, of each object id."""
Write = Callable[[int, np.ndarray, Soft], None]
"""Writes the results of a frame: its number, its label map, its soft masks."""


class Interrupted(Exception):
    """The run was stopped, and can go on."""


def is_finished(output: Path) -> bool:
    """Whether the results of a whole run are there."""
    return (output / REPORT).is_file() and not (output / WORK).exists()


def was_truncated(output: Path) -> bool:
    """Whether the video of a finished run broke off. Raises InputError when its report cannot be read."""
    try:
        return json.loads((output / REPORT).read_text())["input"]["truncated"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError("is no report of stesa segment", output / REPORT, "begin anew with --overwrite") from error


def segment_video(
    job: SegmentJob,
    overwrite: bool = False,
    resume: bool = False,
    on_frame: Callable[[int, int | None], None] = lambda done, of: None,
    stopped: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, int], None] = lambda done, of: None,
) -> SegmentReport:
    """Run the job in constant memory; ``on_frame`` hears the frames done and, as a hint, how many there may be;
    ``on_step`` the steps of the adaptation before that.

    With ``resume``, a run that was interrupted goes on, and ends as if it had not been. Raises InputError for a video
    or mask that does not serve, OutputError when the folder holds results or is full, Interrupted soon after
    ``stopped``."""
    if isinstance(job.video, int) and (resume or job.both_ways):
        raise ConfigError("a camera shows nothing twice", fix="leave out --resume and --both-ways")
    if "rle" in job.save:
        require_pycocotools()
    with open_camera(job.video) if isinstance(job.video, int) else open_video(job.video, job.rate) as reader:
        given = Given(job.masks, job.boxes, (reader.height, reader.width), job.min_area, reader.names)
        if job.frames and given.frames[0] >= job.frames:
            what = f"the first mask is of frame {given.frames[0]}, but --frames {job.frames} stops before"
            raise InputError(what, str(job.video), "frames count from 0")
        goes_on = _check_room(job, overwrite, resume)
        run = _Run(job, reader, given, on_frame, stopped, on_step, goes_on)
        if not goes_on:
            _clear(job.output)
        try:
            run.go()
        except StesaError:
            if not run.report.seen:  # nothing to go on with
                _clear(job.output)
            raise
    report = run.report
    areas, confidence = ({i: each(i) for i in report.ids} for each in (report.areas, report.confidence))
    draw_timeline(job.output / TIMELINE, report.times, areas, confidence, report.width * report.height)
    write_text(job.output / REPORT, json.dumps(report.to_dict(), indent=1))
    shutil.rmtree(job.output / WORK, ignore_errors=True)
    return report


def _check_room(job: SegmentJob, overwrite: bool, resume: bool) -> bool:
    """Whether the output folder holds an interrupted run to go on with. Raises OutputError when it holds anything that
    the run would replace unasked, or that no run of ours has written."""
    output = job.output
    if output.exists() and not output.is_dir():
        raise OutputError("is a file, not a folder", output, "choose another --output")
    found = _results(output)
    if found and not ((output / WORK).exists() or (output / REPORT).is_file()):
        raise OutputError(f"holds {found[0].name}, but not from stesa segment", output, "choose another --output")
    if found and not is_finished(output) and resume:
        return True
    if found and not overwrite:
        if is_finished(output):
            raise OutputError("holds results already", output, "choose another --output, or add --overwrite")
        fix = "choose another --output, or add --overwrite to begin anew"
        if not isinstance(job.video, int):
            fix = "add --resume to go on with it, or --overwrite to begin anew"
        raise OutputError("holds an interrupted run", output, fix)
    return False


def _results(output: Path) -> list[Path]:
    """What there is of the results of a run, whole or not."""
    return [path for name in (*KINDS.values(), REPORT, TIMELINE, WORK) if (path := output / name).exists()]


def _clear(output: Path) -> None:
    for path in _results(output):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


class _Run:
    """A job under way."""

    def __init__(
        self,
        job: SegmentJob,
        reader: VideoReader,
        given: Given,
        on_frame: Callable[[int, int | None], None],
        stopped: Callable[[], bool],
        on_step: Callable[[int, int], None],
        goes_on: bool,
    ) -> None:
        self.job, self.reader, self.given = job, reader, given
        self.on_frame, self.stopped, self.on_step = on_frame, stopped, on_step
        begun = time.perf_counter()
        self.adapted = job.output / WORK / "adapted.safetensors"
        network, info = load_network(self.adapted if goes_on and self.adapted.is_file() else job.weights)
        effort = EFFORTS[job.quality]
        self.segmenter = Segmenter(
            network,
            device=job.device,
            precision=job.precision,
            remembered=effort.remembered,
            views=effort.views(job.size),
        )
        self.remembered = self.segmenter.remembered
        model = {"weights": str(find_weights(job.weights)), "config": network.config.model_dump(), "info": info}
        self.report = SegmentReport(job, reader.width, reader.height, str(reader.rate), model, given)
        self.report.seconds["loading"] = time.perf_counter() - begun
        self.first = given.frames[0]
        self.turn = self.first if job.both_ways else -1  # on the way back: the frame that comes next
        self.alphas = [kind for kind in ("alpha", "webm") if kind in job.save]
        self.soft = bool(self.alphas) or not {"soft", "npz"}.isdisjoint(job.save)
        # where what is done is read again
        work = job.output / WORK
        self.state = work / "state.pt"
        self.masks = job.output if "masks" in job.save and not job.binary else work
        self.softs = job.output if "soft" in job.save else work
        if goes_on and self.state.is_file():
            self._restore()

    def go(self) -> None:
        """Do what is left to be done."""
        write_text(self.job.output / WORK / "begun", "")  # tells that the run is not finished
        sweep(self.job.output)
        if self.turn >= 0 < self.first and not isinstance(self.job.video, int):
            self._stretches(_backwards(self.job.video, self.turn), self._go_back)
        with self._videos() as show:

            def go_on(frame: Frame, write: Write) -> None:
                self.report.times.append(frame.time)
                labels, soft = self._done(frame) if frame.index in self.report.seen else self._next(frame, write)
                show(frame, labels, soft)
                self._tell()

            self._stretches(islice(self.reader, self.job.frames), go_on)
            if self.report.frames <= self.first:
                raise self._no_first(self.report.frames)
        # a break behind the last frame that was asked for is nobody's business
        self.report.truncated = self.reader.truncated_at is not None and self.report.frames != self.job.frames
        if (remembered := self.segmenter.remembered) < self.remembered:
            note = f"the GPU has room for a memory of {remembered} frames only, not {self.remembered}"
            self.report.notes.append(f"{note}: a smaller --size may be better")

    def _no_first(self, frames: int) -> InputError:
        """What to raise when no frame has the first mask; the empty masks of those before it are of no use."""
        self.report.seen.clear()
        what = f"the first mask is of frame {self.first}, but the video has {frames} frames"
        return InputError(what, str(self.job.video), "frames count from 0")

    def _tell(self) -> None:
        self.on_frame(len(self.report.seen), self.job.frames or self.reader.frame_count)

    def _stretches(self, frames: Iterator[Frame], handle: Callable[[Frame, Write], None]) -> None:
        """Handle all frames, and keep the state whenever everything up to it is written."""
        more = True
        while more:
            begun, more = time.perf_counter(), False
            with self._files() as write:
                for frame in frames:
                    handle(frame, write)
                    more = self.stopped() or time.perf_counter() - begun > STRETCH
                    if more:
                        break
            self.report.seconds["segmenting"] += time.perf_counter() - begun
            if isinstance(self.job.video, int):
                more = more and not self.stopped()  # that is how a camera ends; nobody can go on with it
            elif more:
                self._save()
                if self.stopped():
                    raise Interrupted(f"interrupted after {len(self.report.seen)} frames: add --resume to go on")

    def _go_back(self, frame: Frame, write: Write) -> None:
        if frame.index == self.first:
            self._start(frame)
        elif not self.segmenter.ids:
            raise self._no_first(frame.index + 1)
        else:
            self._record(frame.index, self.segmenter.step(frame.image), write)
        self.turn = frame.index - 1
        self._tell()

    def _next(self, frame: Frame, write: Write) -> tuple[np.ndarray, Soft]:
        if frame.index < self.first:
            nothing = torch.ones(1, *frame.image.shape[:2])
            return self._record(frame.index, nothing, write)
        if frame.index == self.first:
            return self._record(frame.index, self._start(frame), write)
        return self._record(frame.index, self.segmenter.step(frame.image, self._given(frame)), write)

    def _start(self, frame: Frame) -> Tensor:
        labels, job, network = self._given(frame), self.job, self.segmenter.network
        assert labels is not None
        if job.adapting and not self.adapted.is_file():
            begun = time.perf_counter()
            steps = adapt(network, frame.image, labels, job.adapting, job.precision, self.stopped, self.on_step)
            if self.stopped():
                raise Interrupted("interrupted before the first frame: add --resume to go on")
            took = time.perf_counter() - begun
            self.report.seconds["adapting"] += took
            self.report.seconds["segmenting"] -= took
            self.report.model["info"] |= {"adaptation_steps": steps}
            checkpoint.save(self.adapted, network.state_dict(), network.config, self.report.model["info"])
        return self.segmenter.start(frame.image, labels)

    def _record(self, index: int, probabilities: Tensor, write: Write) -> tuple[np.ndarray, Soft]:
        ids = self.segmenter.ids[: len(probabilities) - 1]
        labels = label_map(probabilities, ids)
        areas = np.bincount(labels.ravel(), minlength=256)
        sums = np.bincount(labels.ravel(), probabilities.amax(0).cpu().numpy().ravel(), 256)
        self.report.seen[index] = {i: (int(areas[i]), float(sums[i] / max(1, areas[i]))) for i in ids}
        soft = (probabilities[1:] * 255).round().byte().cpu().numpy() if self.soft else ()
        result = labels, dict(zip(ids, soft, strict=False))
        write(index, *result)
        return result

    def _done(self, frame: Frame) -> tuple[np.ndarray, Soft]:
        """What was written of a frame."""
        ids = list(self.report.seen[frame.index])
        labels = read_mask(self.masks / "masks" / f"{frame.index:05d}.png")
        return labels, read_soft(self.softs, frame.index, ids) if self.alphas else {}

    @contextmanager
    def _files(self) -> Iterator[Write]:
        """Writing what each frame has of its own; all of it is on the disk when the block ends."""
        output, save = self.job.output, self.job.save
        with ExitStack() as stack:
            masks = [stack.enter_context(mask_writer(output, save, self.job.binary))]
            if self.masks != output:
                masks.append(stack.enter_context(mask_writer(self.masks, ["masks"])))
            soft = stack.enter_context(soft_writer(self.softs)) if "soft" in save or self.alphas else None
            archive = stack.enter_context(npz_writer(output)) if "npz" in save else None

            def write(index: int, labels: np.ndarray, probabilities: Soft) -> None:
                for write_masks in masks:
                    write_masks(index, labels, list(self.report.seen[index]))
                if soft:
                    soft(index, probabilities)
                if archive:
                    archive(index, labels, probabilities)

            yield write

    @contextmanager
    def _videos(self) -> Iterator[Callable[[Frame, np.ndarray, Soft], None]]:
        """Writing what all frames share; none of it is there before the block ends well."""
        job, rate = self.job, self.reader.rate
        paths = {kind: job.output / KINDS[kind] for kind in job.save}
        sound = None if isinstance(job.video, int) or job.video.is_dir() or job.frames else job.video
        with ExitStack() as stack:
            tinted = rle = None
            if "overlay" in paths:
                tinted = stack.enter_context(video_writer(paths["overlay"], rate, sound))
            alphas = [stack.enter_context(alpha_writer(paths[kind], rate)) for kind in self.alphas]
            if "rle" in paths:
                rle = stack.enter_context(rle_writer(paths["rle"]))

            def show(frame: Frame, labels: np.ndarray, soft: Soft) -> None:
                if tinted:
                    tinted(overlay(frame.image, labels, job.style), frame.time)
                for cut_out in alphas:
                    any_object = sum((s.astype(np.uint16) for s in soft.values()), np.zeros(labels.shape, np.uint16))
                    cut_out(frame.image, any_object.clip(0, 255).astype(np.uint8), frame.time)
                if rle:
                    rle(frame.index, frame.time, labels, list(self.report.seen[frame.index]))

            yield show

    def _given(self, frame: Frame) -> np.ndarray | None:
        return self.given.labels(frame.index, frame.image)

    def _save(self) -> None:
        settings, report = self.job.to_dict(), self.report
        self.segmenter.save(
            self.state, (settings, self.turn, report.seen, report.seconds, self.given.boxes, self.given.notes)
        )

    def _restore(self) -> None:
        notes = self.segmenter.restore(self.state)
        settings, self.turn, self.report.seen, self.report.seconds, self.given.boxes, self.given.notes = notes
        mine = self.job.to_dict()
        if other := [name for name in mine if mine[name] != settings.get(name)]:
            what = f"was begun with other options ({', '.join(other)})"
            raise OutputError(what, self.job.output, "give the same options, or begin anew with --overwrite")


def _backwards(video: Path, last: int) -> Iterator[Frame]:
    """The frames from number ``last`` down to 0. Every block of them is decoded from the start of the file on, as
    seeking is exact in few containers only."""
    while last >= 0:
        with open_video(video) as reader:
            block = max(1, int(BLOCK / (3 * reader.width * reader.height)))
            frames = list(islice(reader, max(0, last + 1 - block), last + 1))
        yield from reversed(frames)
        last -= block

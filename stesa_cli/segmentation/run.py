"""A job under way. Results of single frames are written as they come, in stretches after each of which the state is
kept in the folder ``.stesa`` of the output folder. A run that goes on reads there what is done, so that its videos hold
it too; a pass backwards, before the one forwards, leaves its frames to that in the same way."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from stesa_cli.checkpoint import Loaded, find_weights, load_network
from stesa_cli.errors import InputError, OutputError
from stesa_cli.files import sweep, write_text
from stesa_cli.inference.result import FrameResult
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import read_mask
from stesa_cli.runtime import download
from stesa_cli.segmentation.mask_options import mask_files
from stesa_cli.segmentation.prompts import Prompts
from stesa_cli.segmentation.report import SegmentReport
from stesa_cli.segmentation.results import OVERWRITE, RESUME, WORK, Seen, SeenLog, seen_in
from stesa_cli.video.background import background
from stesa_cli.video.camera import open_camera
from stesa_cli.video.outputs import FORMATS, FrameOutput, OutputOptions, Write, open_outputs, read_soft
from stesa_cli.video.reading import Frame, VideoReader, open_video

if TYPE_CHECKING:
    from stesa_cli.segmentation.job import SegmentJob

STRETCH = 15.0  # seconds of work that a killed run loses at most
BEHIND = 2  # frames whose results wait to be recorded: probabilities of ten objects at 1080p take 90 MB
BLOCK = 256e6  # bytes of frames that a pass backwards decodes at a time
Result = TypeVar("Result")


class Interrupted(Exception):
    """The run was stopped, and can go on."""


class Run:
    """A job under way."""

    def __init__(
        self,
        job: "SegmentJob",
        reader: VideoReader,
        prompts: Prompts,
        on_frame: Callable[[int, int | None], None],
        stopped: Callable[[], bool],
        on_finetune: Callable[[int, int], None],
        goes_on: bool,
        loaded: Loaded | None = None,
    ) -> None:
        self.job, self.reader, self.prompts = job, reader, prompts
        self.on_frame, self.stopped, self.on_finetune = on_frame, stopped, on_finetune
        begun = time.perf_counter()
        network, info = loaded or load_network(job.weights)
        self.segmenter = Segmenter(network, job.config, job.device)
        self.max_mem_frames = self.segmenter.max_mem_frames
        model = {"weights": str(find_weights(job.weights)), "config": network.config.model_dump(), "info": info}
        self.report = SegmentReport(job, reader, model, prompts)
        self.report.seconds["loading"] = time.perf_counter() - begun
        self.first = prompts.frames[0]
        self.turn = self.first if job.both_ways else -1  # on the way back: the frame that comes next
        sound = None if isinstance(job.video, int) or job.video.is_dir() or job.frames else job.video
        self.options = OutputOptions(job.binary, job.style, reader.rate, reader.sample_aspect, sound)
        self.whole = [kind for kind in job.save if FORMATS[kind].whole]
        self.each = [kind for kind in job.save if not FORMATS[kind].whole]
        self.soft = any(FORMATS[kind].soft for kind in job.save)
        self.work = job.output / WORK
        self.state, self.log = self.work / "state.pt", SeenLog(self.work / "seen.jsonl")
        self.fresh: dict[int, Seen] = {}  # not in the log yet
        self.done, self.more = 0, True  # frames; whether a stretch may have left some
        # what a run that goes on reads again for the whole formats, and where: it is kept where the user saves none
        self.again = [] if "masks" in job.save and not job.binary else ["masks"]
        self.soft_again = any(FORMATS[kind].soft for kind in self.whole)
        self.again += ["soft"] if self.soft_again and "soft" not in job.save else []
        if goes_on and self.state.is_file():
            self._restore()
        else:
            self.log.path.unlink(missing_ok=True)

    def go(self) -> None:
        """Do what is left to be done."""
        job = self.job
        write_text(self.work / "begun", "")  # tells that the run is not finished
        sweep(job.output)
        if self.turn >= 0 < self.first and not isinstance(job.video, int):
            self._stretches(backwards(job, self.turn), self._backwards, self._record)
        with open_outputs(job.output, self.whole, self.options) as show:

            def go_on(result: FrameResult | FrameOutput, write: Write) -> None:
                self.report.times.append(result.time)
                show(result if isinstance(result, FrameOutput) else self._record(result, write))

            self._stretches(islice(self.reader, job.frames), self._forwards, go_on)
            if self.report.frames <= self.first:
                raise self._no_first(self.report.frames)
        # a break behind the last frame that was asked for is nobody's business
        self.report.truncated = self.reader.truncated_at is not None and self.report.frames != job.frames
        if (most := self.segmenter.max_mem_frames) < self.max_mem_frames:
            note = f"the GPU has room for a memory of {most} frames only, not {self.max_mem_frames}"
            self.report.notes.append(f"{note}: a smaller --size may be better")

    def _forwards(self, frames: Iterator[Frame]) -> Generator[FrameResult | FrameOutput]:
        """What was done of the first frames, and the results of the others."""
        for frame in frames:
            if frame.index not in self.report.seen:
                break
            yield self._done(frame)
        else:
            return
        if self.first not in self.report.seen:
            self.segmenter.reset(keep_finetuned=True)
        yield from self.segmenter.propagate(chain([frame], frames), self._prompt, self._finetuning)

    def _backwards(self, frames: Iterator[Frame]) -> Generator[FrameResult]:
        """The results of frames on the way from ``turn`` back to the start."""

        def prompt(frame: Frame) -> np.ndarray | None:
            return self._prompt(frame) if frame.index == self.first else None

        for result in self.segmenter.propagate(frames, prompt, self._finetuning):
            if not result.ids:
                raise self._no_first(result.index + 1)
            self.turn = result.index - 1
            if result.index != self.first:  # the way forwards begins with it
                yield result

    def _prompt(self, frame: Frame) -> np.ndarray | None:
        prompt = self.prompts.labels(frame.index, frame.image)
        self.report.take(prompt)
        return prompt.labels

    def _finetuning(self, done: int, of: int) -> None:
        self.on_finetune(done, of)
        if self.stopped():
            raise Interrupted("interrupted before the first frame: add --resume to go on")
        if done == 0:
            self.finetuning_since = time.perf_counter()
        if done == of:
            took = time.perf_counter() - self.finetuning_since
            self.report.seconds["finetuning"] += took
            self.report.seconds["segmenting"] -= took

    def _no_first(self, frames: int) -> InputError:
        """What to raise when no frame has the first mask; the empty masks of those before it are of no use."""
        self.report.seen.clear()
        what = f"the first mask is of frame {self.first}, but the video has {frames} frames"
        return InputError(what, str(self.job.video), "frames count from 0")

    def _stretches(
        self,
        frames: Iterator[Frame],
        results: Callable[[Iterator[Frame]], Generator[Result]],
        handle: Callable[[Result, Write], object],
    ) -> None:
        """Handle the results of all frames, in a thread, while the next ones are computed. At the end of a stretch all
        that runs ahead or behind is done, and then the state is kept."""
        self.more = True
        while self.more:
            begun, broken = time.perf_counter(), None
            with (
                open_outputs(self.job.output, self.each, self.options) as write,
                open_outputs(self.work, self.again, OutputOptions()) as keep,
                background(1, BEHIND) as submit,
                closing(results(self._stretch(frames))) as made,
            ):

                def both(output: FrameOutput) -> None:
                    write(output)
                    keep(output)

                try:
                    for result in made:
                        submit(handle, result, both)
                        self.done += isinstance(result, FrameResult)
                        self.on_frame(self.done, self.job.frames or self.reader.frame_count)
                except InputError as error:  # of a frame; those before it are whole
                    broken = error
            self.report.seconds["segmenting"] += time.perf_counter() - begun
            if broken and self.report.seen and not isinstance(self.job.video, int):
                self._save()
                fix = f"{broken.fix}: {RESUME} goes on after the {len(self.report.seen)} frames that are done"
                raise InputError(broken.what, broken.where, fix) from broken
            if broken:
                raise broken
            if isinstance(self.job.video, int):
                self.more = self.more and not self.stopped()  # so a camera ends; nobody can go on with it
            elif self.more:
                self._save()
                if self.stopped():
                    raise Interrupted(f"interrupted after {len(self.report.seen)} frames: add --resume to go on")

    def _stretch(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames of a stretch: until it has lasted, or the run is stopped, when there may be ``more``."""
        begun, self.more = time.perf_counter(), False
        for frame in frames:
            yield frame
            self.more = self.stopped() or time.perf_counter() - begun > STRETCH
            if self.more:
                return

    def _record(self, result: FrameResult, write: Write) -> FrameOutput:
        """Write what a frame has of its own, and keep in mind what was seen."""
        seen = seen_in(result.labels, result.confidence, result.ids)
        self.report.seen[result.index] = self.fresh[result.index] = seen
        soft = download((result.probabilities[1:] * 255).round().byte()) if self.soft else ()
        masks = dict(zip(result.ids, soft, strict=False))
        name = self._name(result.index)
        output = FrameOutput(name, result.index, result.time, result.image, result.labels, result.ids, masks)
        write(output)
        return output

    def _done(self, frame: Frame) -> FrameOutput:
        """What was written of a frame."""
        name, ids = self._name(frame.index), tuple(self.report.seen[frame.index])

        def folder(kind: str) -> Path:
            return (self.work if kind in self.again else self.job.output) / FORMATS[kind].path

        labels = read_mask(folder("masks") / f"{name}.png")
        soft = read_soft(folder("soft"), name, ids) if self.soft_again else {}
        return FrameOutput(name, frame.index, frame.time, frame.image, labels, ids, soft)

    def _name(self, index: int) -> str:
        named = self.reader.names and self.job.names == "frames"
        return self.reader.names[index] if named else f"{index:05d}"

    def _save(self) -> None:
        settings, report = self.job.to_dict(), self.report
        size, self.fresh = self.log.append(self.fresh), {}
        self.segmenter.save(self.state, (settings, self.turn, size, report.seconds, report.boxes, report.notes))

    def _restore(self) -> None:
        notes = self.segmenter.restore(self.state)
        settings, self.turn, size, self.report.seconds, self.report.boxes, self.report.notes = notes
        mine = self.job.to_dict()
        if other := [name for name in mine if mine[name] != settings.get(name)]:
            what = f"was begun with other options ({', '.join(other)})"
            raise OutputError(what, self.job.output, f"give the same options, or begin anew with {OVERWRITE}")
        self.report.seen = self.log.read(size)
        self.done = len(self.report.seen)


def open_source(job: "SegmentJob") -> VideoReader:
    """The video or camera of a job. Raises InputError as ``open_video`` and ``open_camera`` do."""
    if isinstance(job.video, int):
        return open_camera(job.video)
    return open_video(job.video, job.rate, job.pattern, not_frames=mask_files(job.masks))


def backwards(job: "SegmentJob", last: int) -> Iterator[Frame]:
    """The frames from number ``last`` down to 0. Every block of them is decoded from the start of the file on, as
    seeking is exact in few containers only."""
    while last >= 0:
        with open_source(job) as reader:
            block = max(1, int(BLOCK / (3 * reader.width * reader.height)))
            frames = list(islice(reader, max(0, last + 1 - block), last + 1))
        yield from reversed(frames)
        last -= block

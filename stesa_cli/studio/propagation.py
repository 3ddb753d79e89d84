"""Propagation in a thread: the masks that the prompts leave missing, and nothing else, as ``stesa segment`` would find
them. It goes on from the last state kept before the first missing frame."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from threading import Event, Thread
from typing import Any

import numpy as np

from stesa_cli.errors import StesaError
from stesa_cli.inference.result import FrameResult
from stesa_cli.inference.segmenter import Segmenter
from stesa_cli.masks import read_mask
from stesa_cli.runtime import download
from stesa_cli.segmentation.results import seen_in
from stesa_cli.segmentation.run import backwards, open_source
from stesa_cli.studio.session import Session
from stesa_cli.video.outputs import FrameOutput, OutputOptions, open_outputs
from stesa_cli.video.reading import Frame

SAVED = 5.0  # seconds after which what was found is on record

Tell = Callable[[dict[str, Any]], None]


class _Stopped(Exception):
    """The user has seen enough."""


class Propagation:
    """At most one run at a time. ``tell`` hears of every step, in the thread of the run, as plain values."""

    def __init__(self, session: Session, tell: Tell) -> None:
        self.session, self.tell = session, tell
        self._segmenter: Segmenter | None = None
        self._thread: Thread | None = None
        self._stop = Event()

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, ways: tuple[bool, ...]) -> None:
        """Compute what is missing, for each way: back to the start (True), or forwards (False)."""
        self._stop.clear()
        self._thread = Thread(target=self._run, args=(ways,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _run(self, ways: tuple[bool, ...]) -> None:
        session, error = self.session, ""
        try:
            session.begin()
            total = sum(1 for back in ways for _ in session.missing(back))
            self.tell({"kind": "begun", "total": total})
            for back in ways:
                if (frame := next(session.missing(back), None)) is not None:
                    self._record(self._backwards() if back else self._forwards(frame))
        except _Stopped:
            """What was done is kept."""
        except StesaError as problem:
            error = str(problem)
        except Exception as problem:  # the page must hear of a bug, too
            self.tell({"kind": "ended", "error": f"{type(problem).__name__}: {problem}"})
            raise
        finally:
            session.save()
        self.tell({"kind": "ended", "error": error})

    def _loaded(self) -> Segmenter:
        if self._segmenter is None:
            self.tell({"kind": "loading"})
            begun, job = time.perf_counter(), self.session.job
            self._segmenter = Segmenter.load(job.weights, job.config, job.device)
            self.session.seconds["loading"] = time.perf_counter() - begun
        return self._segmenter

    def _forwards(self, frame: int) -> Iterator[FrameResult]:
        """From the first frame that is missing on. Those between it and the last state are computed again, but are as
        they were."""
        session, segmenter = self.session, self._loaded()
        kept = [state for state in session.states() if state < frame]
        start = kept[-1] + 1 if kept else session.first or 0
        if kept:
            segmenter.restore(session.state_path(kept[-1]))
        else:
            self._rewind(segmenter)
        with open_source(session.job) as frames:
            for result in segmenter.propagate(islice(frames, start, None), self._prompt, self._finetuning):
                self._check()
                if result.index >= frame:
                    yield result
                if result.index == session.first or result.index % session.spacing() == 0:
                    segmenter.save(session.state_path(result.index))

    def _backwards(self) -> Iterator[FrameResult]:
        session, segmenter, first = self.session, self._loaded(), self.session.first or 0
        self._rewind(segmenter)

        def prompt(frame: Frame) -> np.ndarray | None:
            return self._prompt(frame) if frame.index == first else None

        for result in segmenter.propagate(backwards(session.job, first), prompt, self._finetuning):
            self._check()
            if result.index == first:  # the way forwards has it, and begins with this state
                segmenter.save(session.state_path(first))
            else:
                yield result

    def _rewind(self, segmenter: Segmenter) -> None:
        """To before the first frame, with the weights that were finetuned to it, if they were."""
        if states := self.session.states():
            segmenter.restore(self.session.state_path(states[0]))
        segmenter.reset(keep_finetuned=bool(states))

    def _prompt(self, frame: Frame) -> np.ndarray | None:
        path = self.session.prompt_path(frame.index)
        return read_mask(path) if frame.index in self.session.prompts else None

    def _finetuning(self, done: int, of: int) -> None:
        self._check()
        self.tell({"kind": "finetuning", "done": done, "of": of})

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _record(self, results: Iterator[FrameResult]) -> None:
        session, more = self.session, True
        while more:
            more, begun = False, time.perf_counter()
            found = {}
            try:
                with open_outputs(session.work, ("masks", "soft"), OutputOptions()) as write:
                    for result in results:
                        soft = download((result.probabilities[1:] * 255).round().byte())
                        masks = dict(zip(result.ids, soft, strict=True))
                        name, index, at = f"{result.index:05d}", result.index, result.time
                        write(FrameOutput(name, index, at, result.image, result.labels, result.ids, masks))
                        found[index] = seen_in(result.labels, result.confidence, result.ids)
                        self.tell({"kind": "frame", "frame": index, "seen": found[index]})
                        if more := time.perf_counter() - begun > SAVED:
                            break
            finally:
                with suppress(OSError):
                    session.seen |= {f: seen for f, seen in found.items() if session.mask_path(f).is_file()}
                session.seconds["segmenting"] += time.perf_counter() - begun
                session.save()

"""What a studio keeps in the results folder: the user's masks in ``prompts``, one PNG a frame, and in ``.studio`` what
was made from them, so that closing the page, or a machine that dies, loses nothing."""

import hashlib
import json
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from stesa_cli.errors import InputError, OutputError
from stesa_cli.files import sweep, write_text
from stesa_cli.masks import object_ids, read_mask, write_mask
from stesa_cli.segmentation.job import SegmentJob
from stesa_cli.segmentation.prompts import Prompts
from stesa_cli.segmentation.results import Seen, check_room
from stesa_cli.video.seeking import SeekableVideo

WORK = ".studio"
STATES = 24  # states of the segmenter that are kept, evenly over the video


class Session:
    """The masks of one job, given and found.

    A result holds as long as the prompts and settings that it was made with: ``fresh_until`` compares. So whoever takes
    a correction back has all results again. ``first`` is the first frame with a mask. Raises OutputError when another
    studio has the folder open, or it holds what is not ours."""

    def __init__(self, job: SegmentJob, video: SeekableVideo) -> None:
        check_room(job.output, job.video, overwrite=True, resume=False)
        self.job, self.video = job, video
        self.size = video.reader.height, video.reader.width
        self.work = job.output / WORK
        self._stack = ExitStack()
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            self._stack.enter_context(FileLock(self.work / "lock", timeout=0))
        except Timeout as error:
            raise OutputError("is open in another studio", job.output, "close that one first") from error
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", job.output, "choose another --output") from error
        sweep(self.work)
        self.names: dict[int, str] = {}
        self.seen: dict[int, Seen] = {}
        self.seconds = {"loading": 0.0, "finetuning": 0.0, "segmenting": 0.0}
        self._made_with: dict[str, Any] = {}
        self.is_new = not self._load()
        self.prompts = {int(path.stem): _digest(path) for path in sorted(self._folder.glob("[0-9]*.png"))}
        self._given = {frame: object_ids(read_mask(self.prompt_path(frame))) for frame in self.prompts}
        for text in job.masks:
            self._take_over(text)

    def close(self) -> None:
        self._stack.close()

    @property
    def _folder(self) -> Path:
        return self.job.output / "prompts"

    def prompt_path(self, frame: int) -> Path:
        return self._folder / f"{frame:05d}.png"

    def mask_path(self, frame: int) -> Path:
        return self.work / "masks" / f"{frame:05d}.png"

    def state_path(self, frame: int) -> Path:
        return self.work / "states" / f"{frame:05d}.pt"

    def labels(self, frame: int) -> np.ndarray:
        """The label map (H, W) uint8 of a frame: as given, else as found; all 0 where there is none."""
        for path in (self.prompt_path(frame), self.mask_path(frame)):
            if path.is_file():
                return read_mask(path)
        return np.zeros(self.size, np.uint8)

    def give(self, frame: int, labels: np.ndarray) -> None:
        """Keep a label map (H, W) uint8 as the mask of a frame; one without objects takes the mask away."""
        path = self.prompt_path(frame)
        if not object_ids(labels):
            path.unlink(missing_ok=True)
            self.prompts.pop(frame, None)
            self._given.pop(frame, None)
            return
        write_mask(path, labels)
        self.prompts[frame], self._given[frame] = _digest(path), object_ids(labels)

    def ids(self) -> list[int]:
        """The objects that are given, found or named."""
        return sorted({*self.names, *(i for of in (*self._given.values(), *self.seen.values()) for i in of)})

    def given_until(self, frame: int) -> list[int]:
        """The objects that the result of a frame knows: those given in it, before it, or in the first frame."""
        until = max(frame, self.first or 0)
        return list(dict.fromkeys(i for t in sorted(self._given) if t <= until for i in self._given[t]))

    @property
    def first(self) -> int | None:
        return min(self.prompts, default=None)

    def fresh_until(self) -> int:
        """The first frame whose result, if there is one, was made with other masks or settings; those before
        ``first``, on the way back, depend on its mask alone."""
        old = self._made_with
        used: dict[int, str] = {int(frame): digest for frame, digest in old.get("prompts", {}).items()}
        if old.get("settings") != self._settings() or self.first is None or min(used, default=None) != self.first:
            return 0
        changed = [f for f in used.keys() | self.prompts.keys() if used.get(f) != self.prompts.get(f)]
        frame = min(changed, default=len(self.video))
        return 0 if frame == self.first else frame

    def is_fresh(self, frame: int) -> bool:
        return frame in self.seen and frame < self.fresh_until()

    def missing(self, back: bool) -> Iterator[int]:
        """The frames without a result that holds, in the order in which they are computed: before ``first``, back from
        it, or from it on."""
        first, fresh = self.first, self.fresh_until()
        if first is None:
            return iter(())
        frames = range(first - 1, -1, -1) if back else range(first, len(self.video))
        return (frame for frame in frames if not (frame in self.seen and frame < fresh))

    def begin(self) -> None:
        """Forget the results that no longer hold: from here on they are made with the prompts as they are."""
        fresh = self.fresh_until()
        for frame in [frame for frame in self.seen if frame >= fresh]:
            del self.seen[frame]
            self.mask_path(frame).unlink(missing_ok=True)
        for frame in self.states():
            if frame >= fresh:
                self.state_path(frame).unlink()
        self._made_with = {"settings": self._settings(), "prompts": dict(self.prompts)}
        self.save()

    def states(self) -> list[int]:
        """The frames after which the segmenter's state was kept, rising."""
        return sorted(int(path.stem) for path in (self.work / "states").glob("[0-9]*.pt"))

    def spacing(self) -> int:
        """Every how many frames a state is kept."""
        return max(10, -(-len(self.video) // STATES))

    def save(self) -> None:
        values = {"names": self.names, "seconds": self.seconds, "made_with": self._made_with}
        seen = [[frame, list(objects.items())] for frame, objects in self.seen.items()]
        write_text(self.work / "session.json", json.dumps(values | {"seen": seen}))

    def _load(self) -> bool:
        """Whether a session was begun there."""
        path = self.work / "session.json"
        if not path.is_file():
            return False
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            self.names = {int(i): name for i, name in values["names"].items()}
            self.seconds, self._made_with = values["seconds"], values["made_with"]
            seen = {frame: {i: (area, mean) for i, (area, mean) in of} for frame, of in values["seen"]}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError("cannot be read", path, f"remove {self.work}: the masks in prompts/ stay") from error
        self.seen = {frame: of for frame, of in seen.items() if self.mask_path(frame).is_file()}
        return True

    def _settings(self) -> dict[str, Any]:
        """All that decides what a result is, beside the masks."""
        given = self.job.to_dict()
        stat = self.job.video.stat() if isinstance(self.job.video, Path) else None
        kept = {name: given[name] for name in (*type(self.job.config).model_fields, "weights", "pattern", "rate")}
        return kept | {"video": stat and [str(self.job.video.resolve()), stat.st_size, stat.st_mtime]}  # type: ignore[union-attr]

    def _take_over(self, text: str) -> None:
        """Begin with masks of the command line: where the folder holds one of the frame already, that stays."""
        given = Prompts((text,), (), self.size, names=self.video.reader.names)
        for frame in given.frames:
            if frame not in self.prompts:
                labels = given.labels(frame, np.zeros((*self.size, 3), np.uint8)).labels
                self.give(frame, labels if labels is not None else np.zeros(self.size, np.uint8))

    def equal_job(self, save: tuple[str, ...]) -> SegmentJob:
        """The job of ``stesa segment`` whose results are those that hold now. Raises InputError when there are none."""
        first = self.first
        if first is None or not self.is_fresh(first):
            raise InputError("nothing is segmented yet", self.job.name, "propagate first")
        masks = tuple(f"{frame}={self.prompt_path(frame)}" for frame in self.prompts)
        end = next(self.missing(back=False), len(self.video))
        both = first > 0 and next(self.missing(back=True), None) is None
        used = tuple(text for frame, text in zip(self.prompts, masks, strict=True) if frame < end)
        return replace(self.job, masks=used, both_ways=both, save=save, frames=None if end == len(self.video) else end)

    def command(self, save: tuple[str, ...]) -> str:
        """The command line of ``equal_job``, for a shell."""
        job, base = self.equal_job(save), SegmentJob(Path(), (), Path())
        words = ["stesa", "segment", str(job.video)]
        for text in job.masks:
            words += ["--mask", text]
        words += ["--both-ways"] * job.both_ways
        words += ["--frames", str(job.frames)] * bool(job.frames)
        fast, config = type(job.config).preset("fast"), job.config
        preset = fast if config.max_mem_frames == fast.max_mem_frames else base.config
        words += ["--preset", "fast"] * (preset == fast)
        for name in ("size", "precision"):
            words += [f"--{name}", str(getattr(config, name))] * (getattr(config, name) != getattr(preset, name))
        if config.finetune != preset.finetune:
            words.append("--finetune" if config.finetune else "--no-finetune")
        for name in ("weights", "device", "pattern", "rate", "names"):
            words += [f"--{name}", str(getattr(job, name))] * (getattr(job, name) != getattr(base, name))
        words += ["--binary"] * job.binary + ["--labels"] * job.style.ids
        for name in ("opacity", "contour"):
            value = getattr(job.style, name)
            words += [f"--{name}", str(value)] * (value != getattr(base.style, name))
        words += ["--save", ",".join(save)] * (save != base.save)
        return shlex.join([*words, "-o", str(job.output), "--overwrite"])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]

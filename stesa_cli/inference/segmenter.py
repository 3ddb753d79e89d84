"""The Segmenter: a prompted frame, then frame by frame, in constant memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from stesa_cli.checkpoint import load_network
from stesa_cli.errors import InputError, StesaError
from stesa_cli.files import atomic
from stesa_cli.inference import finetune
from stesa_cli.inference.config import InferenceConfig
from stesa_cli.inference.crop import Box, Crop, union, whole
from stesa_cli.inference.frame import Given, Group, Seen, Track, Tracked, follow, see
from stesa_cli.inference.prepared import prepared
from stesa_cli.inference.result import FrameResult, show
from stesa_cli.masks import object_ids
from stesa_cli.model.attention import Memory, MemoryFrame
from stesa_cli.model.network import MULTIPLE, Network
from stesa_cli.model.state import State
from stesa_cli.runtime import find_device, place
from stesa_cli.video.reading import Frame

Stage = TypeVar("Stage")
FEW = 4
"""Objects that take no longer to be followed in a frame than it takes to see it and to show them."""
Prompts = Mapping[int, np.ndarray] | Callable[[Frame], np.ndarray | None]
"""The label maps (H, W) uint8 that the user gives: by the number of their frame, or asked for frame by frame."""


class Segmenter:
    """Segments one video at a time: ``propagate`` over its frames; or ``step`` with each of them, the first with its
    label map, later ones with masks of further objects, or better masks of known ones, where there are any.

    When a GPU runs out of memory, the number of memory frames is halved until the video fits."""

    def __init__(self, network: Network, config: InferenceConfig | None = None, device: str = "auto") -> None:
        self.config = config or InferenceConfig()
        self.device = find_device(device)
        self.network = self._loaded = network.eval()
        place(network, self.device)
        self._prepared: Network | None = None
        memory = network.config.memory
        self.max_mem_frames = self.config.max_mem_frames or (memory.max_mem_frames if memory else 0)
        self._finetuned: dict[str, Tensor] = {}
        self._track = self._newest = Track()
        self._worker = ThreadPoolExecutor(1, "beside")

    @classmethod
    def load(
        cls, weights: str | Path = "stesa", config: InferenceConfig | None = None, device: str = "auto"
    ) -> "Segmenter":
        """From a checkpoint, or the name of shipped weights. Raises ConfigError."""
        return cls(load_network(weights)[0], config, device)

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects that have been prompted so far."""
        return self._track.ids

    def reset(self, keep_finetuned: bool = False) -> None:
        """Forget the video, and the weights that were finetuned to it, but where these are to be kept."""
        self._track = self._newest = Track()
        if not keep_finetuned:
            self._use({})

    def propagate(
        self,
        frames: Iterable[Frame],
        prompts: Prompts,
        on_finetune: Callable[[int, int], None] = lambda done, of: None,
    ) -> Iterator[FrameResult]:
        """Segment frames in the order they come in; those before the first prompt have no object. Goes on from where
        the last frame left off: ``reset`` begins a new video.

        ``on_finetune`` hears the steps done and how many there are. Raises as ``finetune`` and ``step`` do."""
        ask = prompts.get if isinstance(prompts, Mapping) else None

        def given() -> Iterator[Given]:
            for frame in frames:
                yield _given(frame, ask(frame.index) if ask else prompts(frame))  # type: ignore[operator]

        every = given()
        for one in every:
            if one.labels is not None and not self.ids and self.config.finetune and not self._finetuned:
                self.finetune(one.frame.image, one.labels, on_finetune)
            if one.prompted or self.ids:
                threads = torch.get_num_threads()
                try:
                    yield from self._overlapping(one, every, threads)
                finally:
                    torch.set_num_threads(threads)
                return
            nothing, crop = np.zeros(one.frame.image.shape[:2], np.uint8), whole(one.frame.image.shape)
            yield FrameResult(one.frame.index, one.frame.time, one.frame.image, (), nothing, ~nothing, crop, ())

    def _overlapping(self, first: Given, others: Iterator[Given], threads: int) -> Iterator[FrameResult]:
        """The results of frames. While the objects are followed in one, a thread shows the one before and sees the one
        after it; what they come to is the same as in single steps. Each has half of torch's ``threads``, but to follow
        many objects takes long, and has all of them."""
        half = max(1, threads // 2)
        error: Exception | None = None
        one: Given | None = first
        tracked: Tracked | None = None
        self._newest = self._track
        seen: Seen | None = self._see(first, self._track.last, self._track.crop, self._track.near)
        while one is not None and seen is not None:
            following = None
            try:
                following = next(others, None)
            except Exception as raised:  # told when all that comes before it is done
                error = raised
            beside = self._worker.submit(self._beside, tracked, seen, following, half)
            torch.set_num_threads(threads if len(self.ids) > FEW else half)  # of this thread alone
            followed = self._follow(seen)
            done, seen = beside.result()
            if done:
                result, self._track = done
                yield result
            one, tracked = following, followed
        result, self._track = self._shown(cast(Tracked, tracked))
        yield result
        if error:
            raise error

    def _beside(
        self, tracked: Tracked | None, seen: Seen, following: Given | None, threads: int
    ) -> tuple[tuple[FrameResult, Track] | None, Seen | None]:
        """Show a frame where there is one, and see the one after that which is ``seen``."""
        torch.set_num_threads(threads)
        done = self._shown(tracked) if tracked else None
        box = done[1].box if done else self._track.box
        return done, None if following is None else self._see(following, seen.grey, seen.crop, union([box, seen.box]))

    def finetune(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        on_step: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """Fit the decoder to a frame (H, W, 3) uint8 RGB and its label map (H, W) uint8 (see ``finetune.finetune``).
        Raises InputError as ``step`` does, and StesaError when the GPU is too small."""
        _checked(image, labels)
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        for size in (finetune.SIZE, finetune.SIZE // 2):
            try:
                found = finetune.finetune(self._loaded, image, labels, self.config.precision, size, on_step)
            except torch.OutOfMemoryError:
                continue
            self._use(found)
            return
        raise StesaError(
            "the GPU has too little memory for finetuning",
            fix="use --no-finetune, or --device cpu (in Python, finetune=False, device='cpu')",
        )

    def _use(self, finetuned: dict[str, Tensor]) -> None:
        self.network, self._finetuned, self._prepared = self._loaded, finetuned, None
        if finetuned:
            self.network = deepcopy(self._loaded)
            self.network.load_state_dict(finetuned, strict=False)

    def start(self, image: np.ndarray, labels: np.ndarray) -> FrameResult:
        """Begin anew with a frame and its label map, with the weights as they are. Returns and raises as ``step``."""
        self.reset(keep_finetuned=True)
        return self.step(image, labels)

    def step(self, image: np.ndarray, labels: np.ndarray | None = None) -> FrameResult:
        """The next frame (H, W, 3) uint8 RGB; its index is how many came before it since ``reset``, its time 0.

        ``labels`` (H, W) uint8 gives the whole masks of some objects in this frame: they are taken as they are, new ids
        become new objects. An error leaves the Segmenter as it was. Raises InputError when the label map has another
        size than the frame, or no object; StesaError when the GPU is too small."""
        given = _given(Frame(image, self._track.frames, 0.0), labels)
        if not self.ids and not given.prompted:
            raise RuntimeError("the first step needs a label map")
        self._newest = self._track
        seen = self._see(given, self._track.last, self._track.crop, self._track.near)
        result, self._track = self._shown(self._follow(seen))
        return result

    def _see(self, given: Given, last: np.ndarray | None, crop: Crop | None, near: Box | None) -> Seen:
        if self._prepared is None:
            self._prepared = prepared(self.network, self.config.precision)
        network = self._prepared
        return self._fitted(lambda: see(network, self.config, given, last, crop, near))

    def _follow(self, seen: Seen) -> Tracked:
        """The objects in the frame after that of the newest track."""
        network = cast(Network, self._prepared)
        tracked = self._fitted(lambda: follow(network, self.config, self._newest, seen, self.max_mem_frames))
        self._newest = tracked.track
        return tracked

    def _shown(self, tracked: Tracked) -> tuple[FrameResult, Track]:
        """The result of the frame after that of the track, and what it leaves to the next one."""
        result = self._fitted(lambda: show(self.config, tracked))
        box = whole(result.labels.shape).box(result.labels > 0)
        return result, replace(tracked.track, box=box, near=union([self._track.box, tracked.seen.box]))

    def _fitted(self, stage: Callable[[], Stage]) -> Stage:
        """What a stage comes to, with as large a memory as the GPU has room for."""
        while True:
            try:
                return stage()
            except torch.OutOfMemoryError:
                """What its traceback holds is freed first."""
            self._shrink_memory()

    def _shrink_memory(self) -> None:
        if self.max_mem_frames <= 1:
            smaller = max(MULTIPLE, self.config.size // 2)
            raise StesaError(
                "the GPU has too little memory for this video",
                fix=f"use --size {smaller}, or --device cpu (in Python, size={smaller}, device='cpu')",
            )
        self.max_mem_frames //= 2

        def shrunk(state: State) -> State:
            return replace(state, memory=state.memory.resized(self.max_mem_frames)) if state.memory else state

        def smaller_track(track: Track) -> Track:
            return replace(track, groups=tuple(replace(g, state=shrunk(g.state)) for g in track.groups))

        self._track, self._newest = smaller_track(self._track), smaller_track(self._newest)
        torch.cuda.empty_cache()

    def save(self, path: Path, notes: object = None) -> None:
        """Write all that is needed to go on, and ``notes`` of plain values, for ``restore``. Raises OutputError."""
        buffer, last = BytesIO(), self._track.last
        # an array is written as bytes: whatever device the tensors go to, it stays on the host
        host = None if last is None else (last.shape, last.tobytes())
        torch.save((self.max_mem_frames, replace(self._track, last=None), host, self._finetuned, notes), buffer)
        with atomic(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def restore(self, path: Path) -> Any:
        """Go on after the frame that was the last one when ``save`` wrote the file: what follows is the same, to the
        bit on a CPU. Returns the notes. Raises InputError when the file cannot be read."""
        try:
            with torch.serialization.safe_globals([Track, Group, State, Memory, MemoryFrame, Crop]):
                saved = torch.load(path, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise InputError(
                "cannot be read", path, "begin anew with --overwrite (in Python, overwrite=True)"
            ) from error
        self.max_mem_frames, track, host, finetuned, notes = saved
        self._track = self._newest = replace(track, last=host and np.frombuffer(host[1], np.uint8).reshape(host[0]))
        self._use(finetuned)
        return notes


def _given(frame: Frame, labels: np.ndarray | None) -> Given:
    """A frame and its prompt. Raises InputError as ``Segmenter.step``."""
    return Given(frame, labels, [] if labels is None else _checked(frame.image, labels))


def _checked(image: np.ndarray, labels: np.ndarray) -> list[int]:
    """The ids of a prompt."""
    if labels.shape != image.shape[:2]:
        raise InputError(
            f"the mask is {labels.shape[1]}×{labels.shape[0]}, the frame {image.shape[1]}×{image.shape[0]}",
            fix="give a mask of the frame's size, as it is seen upright",
        )
    if not (ids := object_ids(labels)):
        raise InputError("the mask holds no object", fix="mark each object with its own id from 1 to 254")
    return ids

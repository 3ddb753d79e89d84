"""The one training loop: stages, validation, checkpoints, resuming; one process or many (accelerate).

Every clip is a function of the seed and its number: a run that was interrupted and resumed equals one that was not."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from stesa_cli import checkpoint
from stesa_cli.data.clip import ClipBatch, collate
from stesa_cli.data.sampling import ClipDataset
from stesa_cli.errors import ConfigError, Problems, StesaError
from stesa_cli.masks import one_hot
from stesa_cli.model.losses import clip_losses
from stesa_cli.model.network import Network
from stesa_cli.model.state import Prediction
from stesa_cli.runtime import Precision, find_device, place, resolved
from stesa_cli.training.batch_norm import share_batch_norm
from stesa_cli.training.batches import Share, load_batches
from stesa_cli.training.config import RunConfig, StageConfig
from stesa_cli.training.data import open_data
from stesa_cli.training.preview import draw_batch
from stesa_cli.training.run_folder import Report, RunFolder, Validation, listing
from stesa_cli.training.state import TrainingState, begins, make_network
from stesa_cli.training.validation import mean_region_similarity

EXTRA = ("accelerate", "tensorboard")
CLIP_NORM = 5.0  # of the gradient, at most
PICTURES = 3
"""Held-out clips that TensorBoard shows."""


class Trainer:
    """Trains a config into a run folder (see ``RunFolder``), or goes on where the run of that folder stopped.

    ``data`` is what it trains on, with notes on what was left out; ``unreadable`` lists an error message for each file
    that this process could not read so far. Raises ConfigError with all problems of config, data and machine."""

    def __init__(
        self,
        config: RunConfig,
        data_root: Path,
        run: Path,
        device: str = "auto",
        precision: Precision = "auto",
        workers: int = 1,
        compiled: bool = False,
    ) -> None:
        self.config, self.folder, self.workers = config, RunFolder(run), workers
        problems = Problems()
        with problems.noted():
            found = find_device(device)
        with problems.noted():
            self.data = open_data(config, data_root)
        torch.manual_seed(config.train.seed)
        with problems.noted():
            # without data, nobody should wait for the download of ImageNet weights
            self.network = make_network(config, new=not (problems.found or self.folder.last.is_file()))
            problems.found += _unfitting(config, self.network)
        missing = [name for name in EXTRA if not find_spec(name)]
        problems.found += [f"training needs {name}; pip install 'stesa-cli[train]'" for name in missing]
        problems.tell()
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        if found.index is not None:
            torch.cuda.set_device(found)
        # else a second run in one process would be held to the first one's device and precision
        AcceleratorState._reset_state(reset_partial_state=True)
        self.accelerator = Accelerator(
            cpu=found.type == "cpu", mixed_precision="bf16" if resolved(found, precision) == "bf16" else "no"
        )
        place(self.network, self.accelerator.device)
        self.state = TrainingState(self.network, config.train)
        self.unreadable: list[str] = []
        self.step, self.best = 0, -1.0
        if self.folder.last.is_file():
            self._restore()
        if self._of_main(self.step) != self.step:
            raise ConfigError("is not the same for all processes", run, "put it where all machines see it")
        if self.accelerator.num_processes > 1:
            share_batch_norm(self.network)
        if compiled:
            self.network.compile()
        self.model, self.prepared = self.accelerator.prepare(self.network, self.state.optimizer)

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and shows."""
        return self.accelerator.is_main_process

    def run(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[Report]:
        """Train to the end, or until ``stopped`` in any process. Yields a report per step, and saves checkpoints.
        Weights that were given to begin with are validated first, in a report of step 0 without losses."""
        if self.is_main:
            machine = {"device": str(self.accelerator.device), "processes": self.accelerator.num_processes}
            machine |= {"precision": "bf16" if self.accelerator.mixed_precision == "bf16" else "fp32"}
            self.folder.open(
                self.config, self.step, listing(self.data.sources | {"held out": self.data.held_out}), machine
            )
        try:
            while self.step < self.config.steps:
                for report, stopping in self._stage(stopped):
                    yield report
                    if stopping:
                        return
        finally:
            if self.is_main:
                self.folder.close()
            self.accelerator.end_training()

    def _stage(self, stopped: Callable[[], bool]) -> Iterator[tuple[Report, bool]]:
        """Train to the end of the stage. Yields each report, and whether to stop after it."""
        train = self.config.train
        stage, within, _ = self.config.at(self.step)
        if stage.blend and not within:
            self.state.begin()
        held_out = self._held_out_batches(stage) if self.is_main else []
        if not self.step and train.initial and self.data.held_out:
            began = time.perf_counter()
            first = self._validate(held_out)
            report = Report(0, self.config.steps, {}, time.perf_counter() - began, 0, 0, first)
            if self.is_main:
                self.folder.record(report)
            yield report, self._any(stopped())
        for batch, waiting, started in self.batches(self.step):
            told = len(self.unreadable)
            self._note(batch.unreadable)
            losses = self.train_step(self.step, batch)
            self.step, within = self.step + 1, within + 1
            if stage.blend and within == stage.steps:
                self.state.blend(stage.blend)
            done, validation = self.step == self.config.steps, None
            if self.data.held_out and (done or self.step % train.validate_every == 0):
                validation = self._validate(held_out)
            images = stage.batch * stage.clip.length
            seconds = time.perf_counter() - started
            unreadable = tuple(self.unreadable[told:])
            report = Report(self.step, self.config.steps, losses, seconds, waiting, images, validation, unreadable)
            if self.is_main:
                self.folder.record(report)
            stopping = self._any(stopped())
            if done or validation or stopping or self.step % train.checkpoint_every == 0:
                self._save()
            yield report, stopping

    def batches(self, step: int) -> Iterator[tuple[ClipBatch, float, float]]:
        """See ``load_batches``."""
        share = Share(self.accelerator.process_index, self.accelerator.num_processes, self.accelerator.device)
        return load_batches(self.config, self.data.sources, step, share, self.workers)

    def train_step(self, step: int, batch: ClipBatch) -> dict[str, float]:
        """Update the weights with a batch. Returns the losses, means over all processes."""
        stage, within, _ = self.config.at(step)
        self.model.train()
        self.state.set_rates(stage, within)
        losses, _ = self._losses(self.model, batch, step)
        total = torch.stack(list(losses.values())).sum()
        self.accelerator.backward(total)
        values = self.accelerator.reduce(torch.stack([*losses.values(), total]).detach(), "mean")
        if not torch.isfinite(values[-1]):
            raise StesaError(f"the loss is {values[-1].item()} at step {step}", self.folder.path, "lower the rates")
        self.accelerator.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.prepared.step()
        self.prepared.zero_grad()
        self.state.ema.update_parameters(self.network)
        return dict(zip([*losses, "total"], values.tolist(), strict=True))

    def _losses(self, model: Any, batch: ClipBatch, step: int) -> tuple[dict[str, Tensor], list[Prediction]]:
        stage, within, _ = self.config.at(step)
        ids = list(range(1, batch.prompted.shape[1] + 1))
        masks = one_hot(batch.labels, ids)
        flaws = one_hot(batch.flaws, [0, *ids]) if stage.clip.flaws or stage.clip.rough else None
        frames = batch.frames.float() / 255
        predictions = model(frames, masks, batch.prompted, batch.teacher_forcing, batch.flow, flaws)
        fraction = stage.bootstrap if within >= stage.bootstrap_after else 1.0
        weights = self.config.train.model_dump(include={"cross_entropy", "soft_iou", "auxiliary"})
        return clip_losses(predictions, batch.labels, batch.prompted, fraction, **weights), predictions

    def _held_out_batches(self, stage: StageConfig) -> list[ClipBatch]:
        """The held-out clips of a stage, a batch each: the same for all its validations."""
        if not self.data.held_out:
            return []
        train, unpasted = self.config.train, stage.clip.model_copy(update={"paste": 0.0})
        clips = ClipDataset([(1.0, self.data.held_out)], unpasted, train.seed, train.validation_clips)
        return [collate([clips[number]]) for number in range(len(clips))]

    def _validate(self, held_out: list[ClipBatch]) -> Validation:
        """Score the averaged weights on the held-out sequences; save them if they are the best so far."""
        mean, loss = self._of_main(self._measure(held_out) if self.is_main else None)
        best, self.best = mean > self.best, max(self.best, mean)
        if best and self.is_main:
            info = self._info() | {"held_out_J": mean}
            checkpoint.save(self.folder.best, self.state.ema.module.state_dict(), self.config.model, info)
        return Validation(mean, loss, best)

    @torch.no_grad()
    def _measure(self, held_out: list[ClipBatch]) -> tuple[float, float]:
        """Mean J of the held-out sequences, and the mean loss of their clips."""
        average, losses = cast(Network, self.state.ema.module), []
        for number, clip in enumerate(held_out):
            batch = clip.to(self.accelerator.device)
            with self.accelerator.autocast():
                parts, predictions = self._losses(average, batch, self.step - 1)
            losses.append(sum(part.item() for part in parts.values()))
            if number < PICTURES:
                self.folder.show(f"held_out/{number}", draw_batch(batch, predictions), self.step)
        mean, unreadable = mean_region_similarity(average, self.data.held_out)
        self._note(chain(*(clip.unreadable for clip in held_out), unreadable))
        return mean, sum(losses) / len(losses)

    def _note(self, unreadable: Iterable[str]) -> None:
        """Add to ``unreadable``, each file once."""
        self.unreadable += [line for line in dict.fromkeys(unreadable) if line not in self.unreadable]

    def _of_main(self, value: Any) -> Any:
        """The main process's value, in every process."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def _any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.accelerator.num_processes == 1:
            return flag
        flags = self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum")
        return bool(flags > 0)

    def _info(self) -> dict[str, Any]:
        run = self.config.model_dump(mode="json")
        return {"step": self.step, "best": self.best, "run": run, **self.folder.about}

    def _save(self) -> None:
        if self.is_main:
            checkpoint.save(self.folder.last, self.state.tensors(), self.config.model, self._info())

    def _restore(self) -> None:
        tensors, _, info = checkpoint.read(self.folder.last)
        if info["run"] != self.config.model_dump(mode="json"):
            raise ConfigError(
                "was trained with another config", self.folder.last, "choose another --run, or the config it began with"
            )
        self.step, self.best = info["step"], info["best"]
        self.state.load(tensors, self.step, self.folder.last)


def _unfitting(config: RunConfig, network: Network) -> list[str]:
    """What in a config does not fit the network or the number of processes."""
    names = [name for name, _ in network.named_parameters()]
    processes = int(os.environ.get("WORLD_SIZE", 1))
    problems = [
        f"train.frozen: no parameter's name begins with {prefix!r}"
        for prefix in config.train.frozen
        if not any(begins(name, prefix) for name in names)
    ]
    for number, stage in enumerate(config.stages, 1):
        if stage.batch % processes:
            problems.append(f"stage {number}: a batch of {stage.batch} clips cannot be shared by {processes} processes")
    return problems

"""The one training loop: stages, validation, checkpoints, resuming; one process or many (accelerate).

Every clip is a function of the seed and its number: a run that was interrupted and resumed equals one that was not."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stesa_cli import checkpoint
from stesa_cli.data.clip import ClipBatch, collate
from stesa_cli.data.sampling import ClipDataset
from stesa_cli.errors import ConfigError, StesaError
from stesa_cli.masks import one_hot
from stesa_cli.model.losses import clip_losses
from stesa_cli.model.network import Network, Prediction
from stesa_cli.runtime import Precision, find_device, place, resolved
from stesa_cli.training.batch_norm import freeze_batch_norm, share_batch_norm
from stesa_cli.training.batches import Share, load_batches
from stesa_cli.training.config import Problems, RunConfig, open_data
from stesa_cli.training.preview import draw_batch
from stesa_cli.training.run_folder import Report, RunFolder, Validation, listing
from stesa_cli.training.validation import mean_region_similarity

EXTRA = ("accelerate", "tensorboard")
PICTURES = 3
"""Held-out clips that TensorBoard shows."""


class Trainer:
    """Trains a config into a run folder (see ``RunFolder``), or goes on where the run of that folder stopped.

    Raises ConfigError with everything that is wrong with config, data and machine together."""

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
            self.sources, self.held_out = open_data(config, data_root)
        torch.manual_seed(config.train.seed)
        with problems.noted():
            # without data, nobody should wait for the download of ImageNet weights
            self.network = _network(config, new=not (problems.found or self.folder.last.is_file()))
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
        frozen = config.train.frozen
        if not any(stage.encoder_rate for stage in config.stages):
            frozen += ("encoder.",)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not name.startswith(frozen or ("\0",)))
        place(self.network, self.accelerator.device)
        self.ema = AveragedModel(self.network, multi_avg_fn=_average(config.train.ema), use_buffers=True).eval()
        trained = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        parts: dict[str, list[torch.nn.Parameter]] = {"encoder": [], "motion": [], "decoder": []}
        for name, parameter in trained:
            # the memory's few numbers must move further than weights do
            part = "motion" if name.startswith("memory.log_") else name.partition(".")[0]
            parts[part if part in parts else "decoder"].append(parameter)
        optimizer = torch.optim.AdamW if config.train.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = optimizer(
            [{"params": part} for part in parts.values()], weight_decay=config.train.weight_decay
        )
        self.step, self.best = 0, -1.0
        if self.folder.last.is_file():
            self._restore()
        if self._of_main(self.step) != self.step:
            raise ConfigError("is not the same for all processes", run, "put it where all machines see it")
        if self.accelerator.num_processes > 1 and config.train.batch_norm == "trained":
            share_batch_norm(self.network)
        if compiled:
            self.network.compile()
        self.model, self.prepared = self.accelerator.prepare(self.network, self.optimizer)

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and shows."""
        return self.accelerator.is_main_process

    def run(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[Report]:
        """Train to the end, or until ``stopped`` in any process; yields a report a step and saves what is needed to go
        on."""
        if self.is_main:
            machine = {"device": str(self.accelerator.device), "processes": self.accelerator.num_processes}
            machine |= {"precision": "bf16" if self.accelerator.mixed_precision == "bf16" else "fp32"}
            self.folder.open(self.config, self.step, listing(self.sources | {"held out": self.held_out}), machine)
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
        """Train to the end of the stage; yields whether to stop after that step, too."""
        train = self.config.train
        stage, _, _ = self.config.at(self.step)
        for batches, waiting, started in self.batches(self.step):
            losses = self.train_step(self.step, batches)
            self.step += 1
            done, validation = self.step == self.config.steps, None
            if self.held_out and (done or self.step % train.validate_every == 0):
                validation = self._validate()
            images = stage.batch * stage.clip.length
            seconds = time.perf_counter() - started
            report = Report(self.step, self.config.steps, losses, seconds, waiting, images, validation)
            if self.is_main:
                self.folder.record(report)
            stopping = self._any(stopped())
            if done or validation or stopping or self.step % train.checkpoint_every == 0:
                self._save()
            yield report, stopping

    def batches(self, step: int) -> Iterator[tuple[list[ClipBatch], float, float]]:
        """See ``load_batches``."""
        share = Share(self.accelerator.process_index, self.accelerator.num_processes, self.accelerator.device)
        return load_batches(self.config, self.sources, step, share, self.workers)

    def train_step(self, step: int, batches: list[ClipBatch]) -> dict[str, float]:
        """Update the weights with the parts of a batch; returns the losses, means over all processes."""
        stage, within, _ = self.config.at(step)
        train = self.config.train
        self.model.train()
        if train.batch_norm == "frozen":
            freeze_batch_norm(self.network)
        rates = stage.encoder_rate, stage.motion_rate, stage.decoder_rate
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * stage.rate(within)
        parts = []
        for number, batch in enumerate(batches, 1):
            # gradients travel between processes once a step
            with nullcontext() if number == len(batches) else self.accelerator.no_sync(self.model):
                losses, _ = self._losses(self.model, batch, step)
                total = torch.stack(list(losses.values())).sum()
                self.accelerator.backward(total / len(batches))
            parts.append(torch.stack([*losses.values(), total]).detach())
        values = self.accelerator.reduce(torch.stack(parts).mean(0), "mean")
        if not torch.isfinite(values[-1]):
            raise StesaError(f"the loss is {values[-1].item()} at step {step}", self.folder.path, "lower the rates")
        self.accelerator.clip_grad_norm_(self.network.parameters(), train.clip_norm)
        self.prepared.step()
        self.prepared.zero_grad()
        self.ema.update_parameters(self.network)
        return dict(zip([*losses, "total"], values.tolist(), strict=True))

    def _losses(self, model: Any, batch: ClipBatch, step: int) -> tuple[dict[str, Tensor], list[Prediction]]:
        stage, within, _ = self.config.at(step)
        ids = list(range(1, batch.prompted.shape[1] + 1))
        masks = one_hot(batch.labels, ids)
        flaws = one_hot(batch.flaws, [0, *ids]) if stage.clip.flaws else None
        frames = batch.frames.float() / 255
        predictions = model(frames, masks, batch.prompted, batch.teacher_forcing, batch.flow, flaws)
        fraction = stage.bootstrap if within >= stage.bootstrap_after else 1.0
        weights = self.config.train.model_dump(include={"cross_entropy", "soft_iou", "auxiliary"})
        return clip_losses(predictions, batch.labels, batch.prompted, fraction, **weights), predictions

    def _validate(self) -> Validation:
        """The averaged weights on the held-out sequences; the best are kept."""
        mean, loss = self._of_main(self._measure() if self.is_main else None)
        best, self.best = mean > self.best, max(self.best, mean)
        if best and self.is_main:
            info = self._info() | {"held_out_J": mean}
            checkpoint.save(self.folder.best, self.ema.module.state_dict(), self.config.model, info)
        return Validation(mean, loss, best)

    @torch.no_grad()
    def _measure(self) -> tuple[float, float]:
        """Mean J, and the mean loss of clips that are the same at every validation of a stage."""
        train, average = self.config.train, cast(Network, self.ema.module)
        stage, _, _ = self.config.at(self.step - 1)
        unpasted = stage.clip.model_copy(update={"paste": 0.0})
        clips = ClipDataset([(1.0, self.held_out)], unpasted, train.seed, train.validation_clips)
        losses = []
        for number in range(len(clips)):
            batch = collate([clips[number]]).to(self.accelerator.device)
            with self.accelerator.autocast():
                parts, predictions = self._losses(average, batch, self.step - 1)
            losses.append(sum(part.item() for part in parts.values()))
            if number < PICTURES:
                self.folder.show(f"held_out/{number}", draw_batch(batch, predictions), self.step)
        return mean_region_similarity(average, self.held_out, train.validation_size), sum(losses) / len(losses)

    def _of_main(self, value: Any) -> Any:
        """What the main process has."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def _any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        if self.accelerator.num_processes == 1:
            return flag
        flags = self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum")
        return bool(flags > 0)

    def _info(self) -> dict[str, Any]:
        run = self.config.model_dump(mode="json")
        return {"step": self.step, "best": self.best, "run": run, **self.folder.about}

    def _save(self) -> None:
        if not self.is_main:
            return
        tensors = checkpoint.training_tensors(self.network, self.ema.module, self.optimizer)
        checkpoint.save(self.folder.last, tensors, self.config.model, self._info())

    def _restore(self) -> None:
        tensors, _, info = checkpoint.read(self.folder.last)
        if RunConfig.parse(info["run"], self.folder.last) != self.config:
            raise ConfigError(
                "was trained with another config", self.folder.last, "choose another --run, or the config it began with"
            )
        checkpoint.load_training(tensors, self.network, self.ema.module, self.optimizer, self.folder.last)
        self.step, self.best = info["step"], info["best"]
        self.ema.n_averaged.fill_(self.step)


def _average(decay: float) -> Callable[..., None]:
    """Exponential moving average whose memory grows from a few steps to ``1 / (1 - decay)``."""

    def update(averaged: Any, current: Any, count: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(count)) / (10 + int(count))))(averaged, current, count)

    return update


def _network(config: RunConfig, new: bool) -> Network:
    """The network of a run; a new run begins with what the config says."""
    initial = config.train.initial if new else None
    network = Network(config.model, imagenet=config.train.imagenet and new and not initial)
    if initial:
        checkpoint.load_weights(network, initial)
    return network


def _unfitting(config: RunConfig, network: Network) -> list[str]:
    """What of a config fits neither the network nor the number of processes."""
    names = [name for name, _ in network.named_parameters()]
    processes = int(os.environ.get("WORLD_SIZE", 1))
    problems = [
        f"train.frozen: no parameter's name begins with {prefix!r}"
        for prefix in config.train.frozen
        if not any(name.startswith(prefix) for name in names)
    ]
    for number, stage in enumerate(config.stages, 1):
        if stage.batch % (processes * stage.accumulate):
            parts = f"{processes} processes" + (f" in {stage.accumulate} parts each" if stage.accumulate > 1 else "")
            problems.append(f"stage {number}: a batch of {stage.batch} clips cannot be shared by {parts}")
    return problems

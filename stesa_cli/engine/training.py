"""The one training loop: stages, validation, checkpoints, resuming; one process or many (accelerate).

Every clip is a function of the seed and its number: a run that was interrupted and resumed equals one that was not."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from stesa_cli.data.clip import ClipBatch, collate
from stesa_cli.data.sampling import ClipDataset
from stesa_cli.engine import checkpoint
from stesa_cli.engine.evaluation import mean_region_similarity
from stesa_cli.engine.recipe import RunConfig, StageConfig, TrainConfig, open_data
from stesa_cli.engine.runtime import Precision, find_device, place, uses_bf16
from stesa_cli.errors import ConfigError, StesaError
from stesa_cli.files import write_text
from stesa_cli.masks import one_hot
from stesa_cli.model.losses import bootstrapped_cross_entropy, soft_iou_loss
from stesa_cli.model.network import Network, Prediction


@dataclass(frozen=True)
class Report:
    """One training step: ``losses`` by name with their ``total``, ``seconds`` it took and of these ``waiting`` for
    data, and the mean J of the held-out sequences where it was measured."""

    step: int
    steps: int
    losses: dict[str, float]
    seconds: float
    waiting: float
    validation: float | None = None


def clip_losses(
    predictions: list[Prediction], labels: Tensor, valid: Tensor, config: TrainConfig, fraction: float
) -> dict[str, Tensor]:
    """The weighted losses of a batch of clips, the mean over the frames after the first; labels (B, T, H, W)."""
    sums: dict[str, Tensor] = {}

    def add(name: str, weight: float, loss: Tensor) -> None:
        sums[name] = sums.get(name, 0) + weight * loss / (len(predictions) - 1)

    ids = list(range(1, valid.shape[1] + 1))
    for t, prediction in enumerate(predictions[1:], 1):
        truth = one_hot(labels[:, t], ids)
        logits = F.interpolate(prediction.logits, size=truth.shape[2:], mode="bilinear", align_corners=False)
        if config.cross_entropy:
            loss = bootstrapped_cross_entropy(logits, labels[:, t].long(), fraction)
            add("cross_entropy", config.cross_entropy, loss)
        if config.soft_iou:
            add("soft_iou", config.soft_iou, soft_iou_loss(logits.softmax(1)[:, 1:], truth, valid))
        if prediction.auxiliary is not None:
            small = F.interpolate(truth, size=prediction.auxiliary.shape[2:], mode="area")
            loss = soft_iou_loss(prediction.auxiliary.float().sigmoid(), small, valid)
            add("auxiliary", config.auxiliary, loss)
    return sums


class Trainer:
    """Trains a config into a run folder: ``last.safetensors`` (everything needed to go on), ``best.safetensors``
    (averaged weights with the highest held-out J), ``metrics.jsonl`` and ``config.json``."""

    def __init__(
        self,
        config: RunConfig,
        data_root: Path,
        run: Path,
        device: str = "auto",
        precision: Precision = "auto",
        workers: int = 1,
    ) -> None:
        try:
            from accelerate import Accelerator
        except ModuleNotFoundError as error:
            raise ConfigError("training needs accelerate", fix="pip install 'stesa-cli[train]'") from error
        self.config, self.run_folder, self.workers = config, run, workers
        self.sources, self.held_out = open_data(config, data_root)
        found = find_device(device)
        self.accelerator = Accelerator(
            cpu=found.type == "cpu", mixed_precision="bf16" if uses_bf16(found, precision) else "no"
        )
        torch.manual_seed(config.train.seed)
        self.network = Network(config.model, imagenet=config.train.imagenet and not self.last.is_file())
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not name.startswith(config.train.frozen or ("\0",)))
        place(self.network, self.accelerator.device)
        self.ema = AveragedModel(self.network, multi_avg_fn=_average(config.train.ema), use_buffers=True)
        trained = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        encoder = [p for name, p in trained if name.startswith("encoder.")]
        decoder = [p for name, p in trained if not name.startswith("encoder.")]
        optimizer = torch.optim.AdamW if config.train.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = optimizer([{"params": encoder}, {"params": decoder}], weight_decay=config.train.weight_decay)
        self.step, self.best = 0, -1.0
        if self.last.is_file():
            self._restore()
        self.model, self.prepared = self.accelerator.prepare(self.network, self.optimizer)

    @property
    def last(self) -> Path:
        return self.run_folder / "last.safetensors"

    def run(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[Report]:
        """Train to the end, or until ``stopped``; yields a report a step and saves what is needed to go on."""
        if self.accelerator.is_main_process:
            write_text(self.run_folder / "config.json", self.config.model_dump_json(indent=1))
            self._trim_metrics()
        while self.step < self.config.steps and not stopped():
            stage, _, _ = self.config.at(self.step)
            for batch, waiting, started in self._batches(stage):
                losses = self._train_step(batch)
                self.step += 1
                validation = None
                done = self.step == self.config.steps
                if self.held_out and (done or self.step % self.config.train.validate_every == 0):
                    validation = self._validate()
                report = Report(
                    self.step, self.config.steps, losses, time.perf_counter() - started, waiting, validation
                )
                self._record(report)
                if done or validation is not None or self.step % self.config.train.checkpoint_every == 0 or stopped():
                    self._save()
                yield report
                if stopped():
                    return

    def _batches(self, stage: StageConfig) -> Iterator[tuple[ClipBatch, float, float]]:
        """This process's share of the clips from the current step to the end of the stage."""
        _, begun, clips = self.config.at(self.step)
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        if stage.batch % processes:
            raise ConfigError(
                f"a batch of {stage.batch} clips cannot be shared by {processes} processes",
                fix="make batch a multiple of the number of processes",
            )
        share = stage.batch // processes
        sources = [(weight, self.sources[name]) for name, weight in stage.sources.items()]
        dataset = ClipDataset(sources, stage.clip, self.config.train.seed, clips + stage.steps * stage.batch)
        numbers = [
            clips + step * stage.batch + rank * share + i for step in range(begun, stage.steps) for i in range(share)
        ]
        loader = DataLoader(
            dataset,
            batch_size=share,
            sampler=numbers,
            collate_fn=collate,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            pin_memory=self.accelerator.device.type == "cuda",
            worker_init_fn=_single_threaded,
        )
        started = time.perf_counter()
        for batch in loader:
            waiting = time.perf_counter() - started
            yield batch.to(self.accelerator.device), waiting, started
            started = time.perf_counter()

    def _train_step(self, batch: ClipBatch) -> dict[str, float]:
        stage, within, _ = self.config.at(self.step)
        train = self.config.train
        self.model.train()
        for group, rate in zip(self.optimizer.param_groups, (stage.encoder_rate, stage.decoder_rate), strict=True):
            group["lr"] = rate * stage.rate(within)
        ids = list(range(1, batch.valid.shape[1] + 1))
        masks = one_hot(batch.labels, ids)
        predictions = self.model(batch.frames.float() / 255, masks, batch.valid, batch.truth_fed)
        fraction = stage.bootstrap if within >= stage.bootstrap_after else 1.0
        losses = clip_losses(predictions, batch.labels, batch.valid, train, fraction)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise StesaError(f"the loss is {total.item()} at step {self.step}", self.run_folder, "lower the rates")
        self.accelerator.backward(total)
        self.accelerator.clip_grad_norm_(self.network.parameters(), train.clip_norm)
        self.prepared.step()
        self.prepared.zero_grad()
        self.ema.update_parameters(self.network)
        return {name: loss.item() for name, loss in losses.items()} | {"total": total.item()}

    def _validate(self) -> float:
        """Mean J of the averaged weights on the held-out sequences; the best are kept."""
        mean = mean_region_similarity(cast(Network, self.ema.module), self.held_out, self.config.train.validation_size)
        if mean > self.best and self.accelerator.is_main_process:
            info = self._info() | {"held_out_J": mean}
            checkpoint.save(self.run_folder / "best.safetensors", self.ema.module.state_dict(), self.config.model, info)
        self.best = max(self.best, mean)
        return mean

    def _info(self) -> dict[str, Any]:
        return {"step": self.step, "best": self.best, "run": self.config.model_dump(mode="json")}

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        tensors = {f"model.{n}": t for n, t in self.network.state_dict().items()}
        tensors |= {f"ema.{n}": t for n, t in self.ema.module.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for kind, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{kind}"] = torch.as_tensor(value)
        checkpoint.save(self.last, tensors, self.config.model, self._info())

    def _restore(self) -> None:
        tensors, _, info = checkpoint.read(self.last)
        if info["run"] != self.config.model_dump(mode="json"):
            raise ConfigError(
                "was trained with another config", self.last, "choose another --run name, or the config it began with"
            )

        def part(prefix: str) -> dict[str, Tensor]:
            return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

        checkpoint.load_strictly(self.network, part("model."), self.last)
        checkpoint.load_strictly(self.ema.module, part("ema."), self.last)
        for name, parameter in self.network.named_parameters():
            if state := part(f"optimizer.{name}."):
                for kind, value in state.items():
                    if value.dim():
                        state[kind] = value.to(parameter.device).clone(memory_format=torch.preserve_format)
                self.optimizer.state[parameter] = state
        self.step, self.best = info["step"], info["best"]
        self.ema.n_averaged.fill_(self.step)

    def _record(self, report: Report) -> None:
        if self.accelerator.is_main_process:
            line = {"step": report.step, **report.losses, "seconds": report.seconds, "waiting": report.waiting}
            line |= {} if report.validation is None else {"validation_J": report.validation}
            with (self.run_folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")

    def _trim_metrics(self) -> None:
        """Drop what a killed run recorded after its last checkpoint: those steps are taken again."""
        path = self.run_folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        write_text(path, "".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= self.step))


def _average(decay: float) -> Callable[..., None]:
    """Exponential moving average whose memory grows from a few steps to ``1 / (1 - decay)``."""

    def update(averaged: Any, current: Any, count: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(count)) / (10 + int(count))))(averaged, current, count)

    return update


def _single_threaded(_: int) -> None:
    torch.set_num_threads(1)

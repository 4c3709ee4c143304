"""The one LightningModule: whatever the model, objective and estimator, a step is the same."""

import math
import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric

from vae_lab.distributed.group import from_every_rank
from vae_lab.distributed.sharding import full_weights
from vae_lab.errors import InputError
from vae_lab.estimators import Estimator, sampled
from vae_lab.evaluation.codebook import CodeUse
from vae_lab.evaluation.metrics import BoundMetrics, LatentUnits, bits_per_dim
from vae_lab.model import LatentVariableModel
from vae_lab.objectives import Objective, elbo
from vae_lab.seeding import reseed
from vae_lab.trace import Batch, Trace
from vae_lab.training.nan_guard import NaNGuard
from vae_lab.training.overhead import LeanModule
from vae_lab.training.schedules import PerStep, steps_in_all
from vae_lab.training.step import step

LOG_EVERY = 20
"""Steps between two looks at what they gave: for the metrics, the progress bar, to stop on NaN."""


class VAEModule(LeanModule):
    """Maximises an objective over a model's Traces, and logs what they say.

    Noise is stateless: each step reseeds from (seed, epoch, batch, rank), validation from
    (seed, batch, rank) alone, so that its epochs compare.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        objective: Objective,
        estimator: Estimator,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None,
        seed: int,
        dequantized: bool,
        record: dict[str, Any],
        guard: NaNGuard | None = None,
        monitor: Literal["objective", "elbo"] = "objective",
        max_steps: float = math.inf,
    ) -> None:
        """Put the parts together.

        Args:
            model: What is trained.
            objective: What is maximised, per datum in nats.
            estimator: How z is drawn, and what gradient follows.
            optimizer: Parameter groups -> an optimiser.
            scheduler: Its learning rate over time; None keeps it.
            seed: Of the noise of every step.
            dequantized: Whether x is (k + u)/256, so that bits per dimension are known.
            record: Plain values that go into every checkpoint, so that one is enough.
            guard: When to stop on a loss that is not finite; None: at once.
            monitor: What selects: the `objective`, once its schedule rests, or the `elbo`.
            max_steps: Optimiser steps that end training, where the trainer does not end it before.
        """
        super().__init__()
        self.model, self.objective, self.estimator = model, objective, estimator
        self.optimizer, self.scheduler = optimizer, scheduler
        self.seed, self.dequantized, self.record = seed, dequantized, record
        self.guard, self.max_steps = guard or NaNGuard(), max_steps
        self.monitor = f"val/{'elbo' if monitor == 'elbo' else objective.monitor}"
        """The logged metric that selects checkpoints; larger is better."""
        splits = ("train", "val", "test")
        layers = len(model.layer_sizes)
        self.bounds = nn.ModuleDict({f"of_{split}": BoundMetrics(layers) for split in splits})
        self.units = LatentUnits(model.num_units)  # of the evaluation under way
        self.code_use = CodeUse(model.context())  # likewise
        self.latest_elbo: Tensor | None = None
        """A training batch's mean, in nats, now and then: for the progress bar."""
        self._started, self._seconds_before = time.monotonic(), 0.0

    @property
    def trained(self) -> str:
        """What else than the ELBO is trained, in a few words; empty where nothing is."""
        draws = self.estimator.num_draws  # some bounds rise with them
        told = [self.objective.describe(), f"{draws} draws" * (draws > 1)]
        return ", ".join(filter(None, told)) if told[0] else ""

    def past_warmup(self) -> bool:
        """Whether the objective is, after this epoch, what it will stay: selection may start."""
        return self.current_epoch + 1 >= self.objective.warmup_epochs

    def _now(self) -> Tensor:
        """The time of the latest training step, in epochs, a scalar."""
        loop = self.trainer.fit_loop
        epoch = max(loop.epoch_progress.current.ready - 1, 0)
        batch = max(loop.epoch_loop.batch_progress.current.ready - 1, 0)
        return torch.full((), epoch + batch / loop.max_batches, device=self.device)  # no copy

    # Training

    def on_fit_start(self) -> None:
        self._started = time.monotonic()

    def on_train_start(self) -> None:
        """Tells schedules how long it takes; to ask sooner would lose a resumed epoch's place."""
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, PerStep):
                config.scheduler.spread_over(min(steps_in_all(self.trainer), self.max_steps))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; the loss is minus the surrogate's mean, in nats."""
        reseed(self.device, self.seed, "noise", self.current_epoch, batch_idx, self.global_rank)
        outcome = step(self.model, self.objective, self.estimator, batch, self._now())
        loss = -outcome.surrogate.mean()
        self.model.observe(outcome.trace)
        self.estimator.observe(outcome.values.detach())
        self._bounds("train").note(outcome.trace, outcome.objective)
        self.guard.note_step(loss, self.global_step)
        if batch_idx % LOG_EVERY == 0:
            self.latest_elbo = elbo(outcome.trace).detach().mean()
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Now and then, and after the epoch's last step, before validation and any checkpoint."""
        if batch_idx % LOG_EVERY == 0:
            self.guard.check(self.current_epoch)  # after the backward pass, which may name the NaN
            self._bounds("train").settle()
        if not self.trainer.is_last_batch:
            return
        self._bounds("train").settle()  # callbacks compute it before this module does
        with (
            torch.no_grad(),
            full_weights(self.trainer),
        ):  # one more pass: what that step did to the weights shows only now
            _, objective = self._evaluate(batch)
            self.guard.note(objective.mean(), self.global_step)
        self.guard.check(self.current_epoch)
        self.model.likelihood.refit()

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")

    # Validation and test: the same pass, without a gradient

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch to the validation metrics, under noise that is the same every epoch."""
        self._evaluation_step("val", batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch to the test metrics."""
        self._evaluation_step("test", batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test")

    def _evaluation_step(self, split: str, batch: Batch, batch_idx: int) -> None:
        reseed(self.device, self.seed, split, batch_idx, self.global_rank)
        trace, objective = self._evaluate(batch)
        self.guard.note(objective.mean(), self.global_step)
        self._bounds(split).update(trace, objective)
        self.units.update(trace)
        self.code_use.update(trace)

    def _evaluate(self, batch: Batch) -> tuple[Trace, Tensor]:
        """A pass of plain draws, as many as training takes, and its objective at rest, (B,)."""
        trace: Trace = self.model(batch, sampled(self.estimator.num_draws))
        return trace, self.objective(trace, torch.full((), torch.inf, device=self.device))

    # Metrics

    def _bounds(self, split: str) -> BoundMetrics:
        metric = self.bounds[f"of_{split}"]
        assert isinstance(metric, BoundMetrics)
        return metric

    def _log_epoch(self, split: str) -> None:
        self.guard.check(self.current_epoch)
        self._bounds(split).settle()
        found = self._bounds(split).compute()
        likelihood = self.model.likelihood
        dims, support = math.prod(likelihood.event_shape), likelihood.support
        if "elbo" in found:
            bits = bits_per_dim(-float(found["elbo"]), dims, support, self.dequantized)
            if bits is not None:
                found["bits_per_dim"] = torch.tensor(bits)
        error = found.pop("elbo_standard_error", None)
        if split == "test" and error is not None and error.isfinite():  # of one item there is none
            found["elbo_standard_error"] = error
        if split != "train" and self.model.num_units:  # no step of training computes a centre
            found |= self.code_use.compute() or self.units.count_active(self.model.layer_sizes)
            self.units.reset()
            self.code_use.reset()
        for name, value in found.items():
            metric = f"{split}/{name}"
            self.log(metric, value, prog_bar=metric == self.monitor, sync_dist=True)
        self._bounds(split).reset()

    # Optimisation and checkpoints

    def configure_optimizers(self) -> Optimizer | OptimizerLRSchedulerConfig:
        own = [*self.model.parameters(), *self.estimator.parameters()]
        optimizer = self.optimizer([{"params": own}, *self.objective.parameter_groups()])
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        interval = "step" if isinstance(scheduler, PerStep) else "epoch"
        schedule = {"scheduler": scheduler, "monitor": self.monitor, "interval": interval}
        return {"optimizer": optimizer, "lr_scheduler": schedule}  # type: ignore[return-value]

    def record_now(self) -> dict[str, Any]:
        """What goes with its weights. Raises rather than let weights be saved that are NaN."""
        self.guard.check(self.current_epoch)
        logged = self.trainer.callback_metrics
        return {
            **self.record,
            "seconds": self._seconds_before + time.monotonic() - self._started,
            "metrics": {name: float(value) for name, value in logged.items() if "/" in name},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the record, and what each process has summed up."""
        self._bounds("train").settle()
        sums = {name: metric.metric_state for name, metric in self._metrics().items()}
        checkpoint["vae_lab"] = {**self.record_now(), "ranks": from_every_rank(sums)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Gives each rank its own sums back. Raises InputError for another number of ranks."""
        record = checkpoint["vae_lab"]
        if len(record["ranks"]) != self.trainer.world_size:
            raise InputError(
                f"the run was made by {len(record['ranks'])} processes, not "
                f"{self.trainer.world_size}: continue it with as many."
            )
        metrics = self._metrics()
        for name, state in record["ranks"][self.global_rank].items():
            for key, value in state.items():
                setattr(metrics[name], key, value.to(self.device))
        self._seconds_before = record["seconds"]

    def _metrics(self) -> dict[str, Metric]:
        """What holds sums over the items that this rank has seen, wherever it stands."""
        return {name: m for name, m in self.named_modules() if isinstance(m, Metric)}

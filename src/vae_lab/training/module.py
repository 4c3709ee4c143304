"""The one LightningModule: whatever the model, objective and estimator, a step is the same."""

import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lab.distributed.sharding import full_weights
from vae_lab.errors import InputError
from vae_lab.estimators import Estimator
from vae_lab.evaluation.metrics import ActiveUnits, BoundMetrics, LatentUnits, bits_per_dim
from vae_lab.model import LatentVariableModel
from vae_lab.objectives import Objective
from vae_lab.seeding import reseed
from vae_lab.trace import Batch, Trace

LOG_EVERY = 20
"""Steps between two looks at the loss: for the progress bar, and to stop on NaN."""


class VAEModule(L.LightningModule):
    """Maximises an objective over a model's Traces, and logs what they say.

    Noise is stateless: each step reseeds from (seed, epoch, batch, rank), validation from
    (seed, batch, rank) alone, so that its epochs compare.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        objective: Objective,
        estimator: Estimator,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None,
        seed: int,
        dequantized: bool,
        record: dict[str, Any],
    ) -> None:
        """`record`, of plain values, goes into every checkpoint, so that one is enough."""
        super().__init__()
        self.model, self.objective, self.estimator = model, objective, estimator
        self.optimizer, self.scheduler = optimizer, scheduler
        self.seed, self.dequantized, self.record = seed, dequantized, record
        units = torch.Size(model.z_shape).numel()
        self.train_bounds, self.train_units = BoundMetrics(), ActiveUnits(units)
        self.val_bounds, self.val_units = BoundMetrics(), ActiveUnits(units)
        self.test_bounds, self.test_units = BoundMetrics(), ActiveUnits(units)
        self.latents = LatentUnits(units)  # of the evaluation under way
        self.first_bad_step = torch.tensor(-1)  # no buffer: DDP would overwrite a rank's
        self.epoch_time = torch.tensor(0.0)  # of the latest training step
        self.stops_on_nan = True  # not where a search goes on until the loss is none
        self.skips_bad_steps = False  # whether a step is left out where its loss is not finite
        self._started, self._seconds_before = time.monotonic(), 0.0

    @property
    def monitor(self) -> str:
        """The logged figure that selects checkpoints; larger is better."""
        return f"val/{self.objective.monitor}"

    def past_warmup(self) -> bool:
        """Whether the objective is, after this epoch, what it will stay: selection may start."""
        return self.current_epoch + 1 >= self.objective.warmup_epochs

    # Training

    def on_fit_start(self) -> None:
        self._started = time.monotonic()
        self.first_bad_step = self.first_bad_step.to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One pass; the loss is minus the surrogate's mean, in nats."""
        reseed(self.device, self.seed, "noise", self.current_epoch, batch_idx, self.global_rank)
        trace: Trace = self.model(batch, self.estimator.draw)
        share = batch_idx / self.trainer.num_training_batches
        self.epoch_time = torch.tensor(self.current_epoch + share, device=self.device)
        surrogate = self.estimator.surrogate(self.objective, trace, self.epoch_time)
        loss = -surrogate.mean()
        self.model.likelihood.observe(batch.x, trace.p_x)
        self.train_bounds.update(trace, surrogate)
        self.train_units.update(trace)
        if not self.skips_bad_steps:
            self._note(loss)
        if batch_idx % LOG_EVERY == 0:
            self.log("elbo", -loss.detach(), prog_bar=True, logger=False, batch_size=len(batch.x))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Now and then, and after the epoch's last step, before validation and any checkpoint."""
        if batch_idx % LOG_EVERY == 0:
            self._stop_on_nan()  # not before the backward pass: trainer=debug names the operation
        if not self.trainer.is_last_batch:
            return
        with (
            torch.no_grad(),
            full_weights(self.trainer),
        ):  # one more pass: what that step did to the weights shows only now
            trace = self.model(batch, self.estimator.draw)
            self._note(self.objective(trace, self.epoch_time).mean())
        self._stop_on_nan()
        self.model.likelihood.refit()

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train", self.train_bounds, self.train_units)

    def _note(self, value: Tensor) -> None:
        """Remember the first step whose value is not finite; read only now and then."""
        bad = (self.first_bad_step < 0) & ~value.detach().isfinite()
        self.first_bad_step = torch.where(bad, self.global_step, self.first_bad_step)

    def _stop_on_nan(self) -> None:
        step = int(self.first_bad_step)
        if step >= 0 and self.stops_on_nan:
            raise NonFiniteLossError(step, self.current_epoch)

    # Validation and test: the same pass, without a gradient

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch to the validation figures, under noise that is the same every epoch."""
        self._evaluation_step("val", batch, batch_idx, self.val_bounds, self.val_units)

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val", self.val_bounds, self.val_units, prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch to the test figures."""
        self._evaluation_step("test", batch, batch_idx, self.test_bounds, self.test_units)

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test", self.test_bounds, self.test_units)

    def _evaluation_step(
        self, split: str, batch: Batch, batch_idx: int, bounds: BoundMetrics, units: ActiveUnits
    ) -> None:
        reseed(self.device, self.seed, split, batch_idx, self.global_rank)
        trace: Trace = self.model(batch, self.estimator.draw)
        objective = self.objective(trace, self.epoch_time.to(self.device))
        bounds.update(trace, objective)
        self._note(objective.mean())
        units.update(trace)
        self.latents.update(trace)

    def _log_epoch(
        self, split: str, bounds: BoundMetrics, units: ActiveUnits, prog_bar: bool = False
    ) -> None:
        self._stop_on_nan()
        figures = {f"{split}/{name}": value for name, value in bounds.compute().items()}
        dims = torch.Size(self.model.x_shape).numel()
        nats = -float(figures[f"{split}/elbo"])
        bits = bits_per_dim(nats, dims, self.model.likelihood.support, self.dequantized)
        if bits is not None:
            figures[f"{split}/bits_per_dim"] = torch.tensor(bits)
        figures[f"{split}/active_units"] = units.compute()
        if prog_bar:
            self.log(f"{split}/elbo", figures.pop(f"{split}/elbo"), prog_bar=True, sync_dist=True)
        self.log_dict(figures, sync_dist=True)
        for metric in (bounds, units, self.latents):
            metric.reset()

    # Optimisation and checkpoints

    def configure_optimizers(self) -> Optimizer | OptimizerLRSchedulerConfig:
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        schedule = {"scheduler": self.scheduler(optimizer), "monitor": self.monitor}
        return {"optimizer": optimizer, "lr_scheduler": schedule}  # type: ignore[return-value]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the record. Raises rather than save weights that a NaN has reached."""
        self._stop_on_nan()
        own = {k: v for k, v in self.state_dict().items() if _is_of_one_rank(k)}
        checkpoint["vae_lab"] = {
            **self.record,
            "seconds": self._seconds_before + time.monotonic() - self._started,
            "metrics": self._figures_so_far(),
            "ranks": _from_every_rank(own),
        }

    def _figures_so_far(self) -> dict[str, float]:
        logged = self.trainer.callback_metrics
        return {name: float(value) for name, value in logged.items() if "/" in name}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Gives each rank its own sums back. Raises InputError for another number of ranks."""
        record = checkpoint["vae_lab"]
        if len(record["ranks"]) != self.trainer.world_size:
            raise InputError(
                f"the run was made by {len(record['ranks'])} processes, not "
                f"{self.trainer.world_size}: continue it with as many."
            )
        own = record["ranks"][self.global_rank]
        if "current_model_state" in checkpoint:  # what trains, where "state_dict" is an average
            checkpoint["current_model_state"].update(own)
        elif "state_dict" in checkpoint:
            checkpoint["state_dict"].update(own)
        else:  # FSDP has loaded it already
            self.load_state_dict(own, strict=False)
        self._seconds_before = record["seconds"]


def _is_of_one_rank(key: str) -> bool:
    """Whether an entry of the state is a rank's own: sums over the items that it has seen."""
    return key.startswith(("train_", "val_", "test_", "latents")) or key.endswith("_extra_state")


def _from_every_rank(own: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    every = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, own)
    return every


class NonFiniteLossError(InputError):
    """The loss became NaN or infinite; training stopped with its last good checkpoint intact."""

    def __init__(self, step: int, epoch: int) -> None:
        super().__init__(
            f"the loss became NaN or infinite at step {step} (epoch {epoch}). The last good "
            "checkpoint, if an epoch had ended, is kept; try a smaller optimizer.lr, or "
            "trainer.gradient_clip_val=1."
        )

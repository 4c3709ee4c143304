"""Which weights are kept, and when training may stop: on the objective's monitor, after warm-up."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch import callbacks as lightning

from vae_lab.arguments import Count, NonNegative, Text
from vae_lab.distributed.signals import Interrupted, Interruption
from vae_lab.training.module import VAEModule


class BestCheckpoint(lightning.ModelCheckpoint):
    """best.ckpt: the weights with the largest monitored metric since the warm-up ended."""

    def __init__(self, dirpath: Text) -> None:
        """`dirpath` is the folder it is kept in."""
        super().__init__(
            dirpath, filename="best", monitor="val/elbo", mode="max",
            enable_version_counter=False, save_on_train_epoch_end=True,
        )  # fmt: skip

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.monitor = _training(pl_module).monitor
        super().setup(trainer, pl_module, stage)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _training(pl_module).past_warmup():
            super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The run's folder may have moved since."""
        best = f"{self.dirpath}/best.ckpt"
        scores = dict.fromkeys([best] * len(state_dict["best_k_models"]), state_dict["kth_value"])
        super().load_state_dict(
            {
                **state_dict,
                "dirpath": self.dirpath,
                "best_k_models": scores,
                "best_model_path": best if scores else "",
                "kth_best_model_path": best if scores else "",
                "last_model_path": "",
            }
        )


class LastCheckpoint(lightning.Checkpoint):
    """last.ckpt: all that training needs to go on, after each epoch and every so many steps.

    A SIGTERM or SIGUSR1 writes it too, after the step at hand, and ends training.
    """

    def __init__(self, dirpath: Text, every_n_steps: Count | None = None) -> None:
        """`dirpath` is the folder it is kept in; `every_n_steps` counts optimiser steps.

        None saves at the ends of epochs alone.
        """
        self.path = f"{dirpath}/last.ckpt"
        self.interruption = Interruption()
        self.every = every_n_steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.interruption.listen()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # the epoch's end saves; gradients that still accumulate cannot be saved
        called = self.interruption.check(trainer)
        if called or (self.every and trainer.global_step % self.every == 0):
            trainer.save_checkpoint(self.path, weights_only=False)
        if called:
            raise Interrupted(self.interruption.number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
        if self.interruption.check(trainer):
            raise Interrupted(self.interruption.number)


class MaxSteps(Callback):
    """Stops after so many optimiser steps, validated.

    Lightning's own max_steps ends without validation, and resumes in the epoch that is over.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.steps

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.steps


class EarlyStopping(lightning.EarlyStopping):
    """Stops when the monitored metric has not grown for `patience` epochs after the warm-up."""

    def __init__(self, patience: Count, min_delta: NonNegative = 0.0) -> None:
        """`min_delta` is in the monitor's unit, nats."""
        super().__init__(
            "val/elbo", min_delta, patience, mode="max", check_on_train_epoch_end=False
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.monitor = _training(pl_module).monitor
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _training(pl_module).past_warmup():
            super().on_validation_end(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A resumed run may have had enough already."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def _training(module: LightningModule) -> VAEModule:
    assert isinstance(module, VAEModule)
    return module

"""Which weights are kept, and when training may stop: on the module's monitor, after warm-up."""

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch import callbacks as lightning

from vae_lab.arguments import Count, NonNegative, Text
from vae_lab.callbacks.averaging import averaged_weights
from vae_lab.distributed.signals import Interrupted, Interruption
from vae_lab.loggers import log_epoch
from vae_lab.training.module import VAEModule


class BestCheckpoint(lightning.Checkpoint):
    """best.ckpt: the weights with the largest monitored metric since the warm-up ended.

    Weights alone, the averaged ones where training keeps any, with the run's record. They wait in
    memory until last.ckpt is written, or training ends: what last.ckpt tells of them is so.
    """

    def __init__(self, dirpath: Text) -> None:
        """`dirpath` is the folder it is kept in."""
        self.path = f"{dirpath}/best.ckpt"
        self.score = -math.inf
        self.epoch: int | None = None  # the best so far, counted from 1
        self._unwritten: dict[str, Any] | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = _training(pl_module)
        score = float(trainer.callback_metrics.get(module.monitor, -math.inf))
        better = module.past_warmup() and score > self.score
        if trainer.strategy.reduce_boolean_decision(better):
            self.score, self.epoch = score, trainer.current_epoch + 1
            with averaged_weights(trainer, module):
                weights = trainer.strategy.lightning_module_state_dict()
                self._unwritten = {
                    "state_dict": {name: w.detach().cpu().clone() for name, w in weights.items()},
                    "epoch": trainer.current_epoch,
                    "global_step": trainer.global_step,
                    "vae_lab": module.record_now(),
                }

    def write(self, trainer: Trainer) -> None:
        """Write what is not written yet, on the process that writes."""
        if self._unwritten is not None and trainer.is_global_zero:
            trainer.strategy.checkpoint_io.save_checkpoint(self._unwritten, self.path)
        self._unwritten = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.write(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        with suppress(OSError):  # a full disk may be what is told of
            self.write(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if Path(self.path).is_file():  # else its weights are gone: the best from here on is kept
            self.score, self.epoch = state_dict["score"], state_dict["epoch"]


class LastCheckpoint(lightning.Checkpoint):
    """last.ckpt: all that training needs to go on, after epochs and every so many steps.

    Ctrl-C, SIGTERM or SIGUSR1 write it too, after the step at hand, and end training.
    """

    def __init__(
        self, dirpath: Text, every_n_steps: Count | None = None, every_n_seconds: NonNegative = 10
    ) -> None:
        """Choose where and how often.

        Args:
            dirpath: The folder it is kept in.
            every_n_steps: Optimiser steps between two saves; None saves at the ends of epochs
                alone.
            every_n_seconds: An epoch that ends sooner after a save is not saved, unless it is the
                last: short epochs need not wait for the disk. 0 saves them all.
        """
        self.path = f"{dirpath}/last.ckpt"
        self.every, self.pause = every_n_steps, every_n_seconds
        self._saved_at = -math.inf  # on the clock of time.monotonic

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        Interruption.listen()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A signal since the last epoch's end spares the test; from here on none has to wait."""
        Interruption.act()
        if Interruption.check(trainer):
            raise Interrupted(Interruption.number)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        Interruption.act()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        Interruption.act()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # the epoch's end saves; gradients that still accumulate cannot be saved
        called = Interruption.check(trainer)
        if called or (self.every and trainer.global_step % self.every == 0):
            self._save(trainer)
        if called:
            raise Interrupted(Interruption.number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        log_epoch(trainer)
        called = Interruption.check(trainer)
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due = ends or time.monotonic() - self._saved_at >= self.pause
        if called or trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save(trainer)
        if called:
            raise Interrupted(Interruption.number)

    def _save(self, trainer: Trainer) -> None:
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, BestCheckpoint):
                callback.write(trainer)  # first: a kill in between loses nothing that is told of
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_at = time.monotonic()


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
            "", min_delta, patience, mode="max", check_on_train_epoch_end=False
        )  # `setup` knows the monitor

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

"""The `system/` section: how fast it trains, and at what cost."""

import resource
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vae_lab.trace import Batch


class System(Callback):
    """Logs speed, memory and learning rate, each epoch.

    `system/items_per_second` is of all processes, and training alone, as `system/seconds_per_epoch`
    is: validation and figures take none of it. `system/peak_memory_gib` is this process's, of the
    GPU where it trains on one.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin()  # a run that resumes within an epoch does not start that one

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any
    ) -> None:
        self._items += len(batch.x)
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._ended = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = self._ended - self._started
        figures = {
            "system/items_per_second": self._items * trainer.world_size / seconds,
            "system/seconds_per_epoch": seconds,
            "system/peak_memory_gib": _peak_bytes(pl_module.device) / 2**30,
            "system/learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
        }
        for logger in trainer.loggers:  # of rank 0; the others have none
            logger.log_metrics(figures, trainer.global_step - 1)  # the last step, as Lightning's

    def _begin(self) -> None:
        self._items = 0
        self._started = self._ended = time.monotonic()


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB

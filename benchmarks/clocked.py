"""The clock within train.py, as a callback of Lightning's."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks.clock import Clock


class Clocked(Callback):
    """Notes when epochs begin and end, and writes it to the file `out`."""

    def __init__(self, out: str) -> None:
        self.out, self.clock = Path(out), Clock()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.clock.begin_epoch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        self.clock.step()
        if trainer.is_last_batch:
            self.clock.end_epoch()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.clock.write(self.out, -float(trainer.callback_metrics["train/objective"]))

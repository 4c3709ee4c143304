"""The progress bar: rich's, on one line of 80 columns."""

from math import inf
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from vae_lab.arguments import Natural

BESIDE = 70
"""Columns that all but the bar itself may take."""


class Progress(RichProgressBar):
    """Epochs counted from 1, batches, time, and the ELBO if finite; validation has no own bar."""

    def __init__(self, refresh_rate: Natural = 10) -> None:
        """`refresh_rate` is in batches."""
        super().__init__(refresh_rate, theme=RichProgressBarTheme(metrics_format=".5g"))

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        width = max(5, min(40, Console().width - BESIDE))
        return [
            TextColumn("{task.description}"),
            BarColumn(width),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        ]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # the logger's version
        return {name: value for name, value in metrics.items() if abs(value) != inf}

    def on_validation_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """One line: what would add another adds none."""

    def _get_train_description(self, current_epoch: int) -> str:
        last = self.trainer.max_epochs
        return f"Epoch {current_epoch + 1}" + (f"/{last}" if last not in (None, -1) else "")

"""The progress bar: rich's, on one line of 80 columns."""

from math import inf
from time import monotonic
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
from vae_lab.training.module import VAEModule

BESIDE = 70
"""Columns that all but the bar itself may take."""

EVERY = 0.2
"""Seconds between two looks of the bar, at least: to draw it costs as much as a small step."""


class Progress(RichProgressBar):
    """Epochs counted from 1, batches, time, and the ELBO if finite; validation has no own bar."""

    def __init__(self, refresh_rate: Natural = 10) -> None:
        """`refresh_rate` is in batches; the bar is drawn five times a second at most."""
        super().__init__(refresh_rate, theme=RichProgressBarTheme(metrics_format=".5g"))
        self._drawn = -inf

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        width = max(5, min(40, Console().width - BESIDE))
        return [
            TextColumn("{task.description}"),
            BarColumn(width),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        ]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        assert isinstance(pl_module, VAEModule)
        latest = pl_module.latest_elbo
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # the logger's version
        shown = {**({} if latest is None else {"elbo": float(latest)}), **metrics}
        return {name: value for name, value in shown.items() if abs(value) != inf}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Now and then: what is shown is read from the device, for which training would wait."""
        if not self.is_enabled or (
            (batch_idx + 1) % self.refresh_rate and not trainer.is_last_batch
        ):
            return
        if trainer.is_last_batch or monotonic() - self._drawn >= EVERY:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            self._drawn = monotonic()

    def on_validation_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """One line: what would add another adds none."""

    def _get_train_description(self, current_epoch: int) -> str:
        last = self.trainer.max_epochs
        return f"Epoch {current_epoch + 1}" + (f"/{last}" if last not in (None, -1) else "")

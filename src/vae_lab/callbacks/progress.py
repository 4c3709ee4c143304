"""The progress bar: rich's, with the ELBO in it."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from vae_lab.arguments import Natural


class Progress(RichProgressBar):
    """Lightning's rich bar without the logger's version number."""

    def __init__(self, refresh_rate: Natural = 10) -> None:
        """`refresh_rate` is in batches."""
        super().__init__(refresh_rate=refresh_rate)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

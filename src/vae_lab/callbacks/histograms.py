"""Weights and gradients as histograms, by option."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from vae_lab.arguments import Count
from vae_lab.errors import InputError
from vae_lab.loggers import log_histograms, takes_histograms
from vae_lab.training.module import VAEModule


class Histograms(Callback):
    """Sends `weights/` and `gradients/` of every parameter to W&B or TensorBoard.

    Gradients are those of the whole batch, of all processes, before any clipping.
    """

    def __init__(self, every_n_steps: Count | None = None) -> None:
        """`every_n_steps` counts optimiser steps; None sends nothing."""
        self.every = every_n_steps

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raises InputError where no logger takes histograms."""
        takes = any(takes_histograms(logger) for logger in trainer.loggers)
        if self.every and trainer.is_global_zero and not takes:
            raise InputError(
                "callbacks.histograms.every_n_steps needs logger=wandb or logger=tensorboard."
            )

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if not self.every or trainer.global_step % self.every or not trainer.loggers:
            return
        assert isinstance(pl_module, VAEModule)
        histograms: dict[str, Tensor] = {}
        for name, parameter in pl_module.model.named_parameters():
            histograms[f"weights/{name}"] = parameter
            if parameter.grad is not None:
                histograms[f"gradients/{name}"] = parameter.grad
        for logger in trainer.loggers:
            log_histograms(logger, histograms, trainer.global_step)

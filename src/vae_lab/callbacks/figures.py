"""Figures while training: to the logger, and as PNG in the run folder."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vae_lab.arguments import Count, Natural, Text
from vae_lab.callbacks.averaging import averaged_weights
from vae_lab.data import ImageDataModule
from vae_lab.distributed.sharding import full_weights
from vae_lab.evaluation.figures import plot_all, save_figures
from vae_lab.loggers import log_image
from vae_lab.training.module import VAEModule


class Figures(Callback):
    """Plots held-out images, samples and latents every `every_n_epochs`, and at the end.

    Held-out are validation images while training (without any, training images), test images at
    the end.
    """

    def __init__(
        self, folder: Text, every_n_epochs: Natural = 10, num_images: Count = 1000
    ) -> None:
        """Choose where and how often.

        Args:
            folder: Where the PNGs go.
            every_n_epochs: 0 plots at the end alone.
            num_images: At most so many images' latents are plotted.
        """
        self.folder, self.every, self.num_images = Path(folder), every_n_epochs, num_images

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every > 0 and (trainer.current_epoch + 1) % self.every == 0:
            with averaged_weights(trainer, pl_module):
                self._plot(trainer, pl_module, _held_out(trainer))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every == 0 or trainer.current_epoch % self.every != 0:
            self._plot(trainer, pl_module, _held_out(trainer))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._plot(trainer, pl_module, "test")

    def _plot(self, trainer: Trainer, module: LightningModule, split: str) -> None:
        assert isinstance(module, VAEModule)
        with full_weights(trainer):
            if trainer.is_global_zero:
                self._plot_all(trainer, module, split)

    def _plot_all(self, trainer: Trainer, module: VAEModule, split: str) -> None:
        data = _data(trainer)
        shown = torch.arange(len(data.splits[split]))[: self.num_images]
        batch = next(data.batches(split, self.num_images, module.device, shown))
        with torch.random.fork_rng():
            figures = plot_all(module.model, batch, split)
        for name, path in save_figures(figures, self.folder).items():
            for logger in trainer.loggers:
                log_image(logger, f"media/{name}", path, trainer.global_step)


def _held_out(trainer: Trainer) -> str:
    return "val" if len(_data(trainer).splits["val"]) else "train"


def _data(trainer: Trainer) -> ImageDataModule:
    data: ImageDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return data

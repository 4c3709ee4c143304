"""Figures while training: as PNG in the run folder, and to the logger."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vae_lab.arguments import Count, Natural, Text
from vae_lab.callbacks.averaging import averaged_weights
from vae_lab.callbacks.latents import training_units
from vae_lab.data import ImageDataModule
from vae_lab.distributed.sharding import full_weights
from vae_lab.evaluation.curves import PANELS, History, curves, noise
from vae_lab.evaluation.figures import plot_all, save_figures
from vae_lab.evaluation.metrics import BoundMetrics
from vae_lab.loggers import log_image
from vae_lab.training.module import VAEModule


class Figures(Callback):
    """Plots held-out images, samples and latents every `every_n_epochs`, and at the end.

    Held-out are validation images while training (without any, training images), test images at
    the end: some at random, the same every time. curves.png shows every epoch so far, those before
    a run was resumed too, and noise.png, where the posterior knows its variance, how wide it was;
    history.json is what both are drawn from.
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
        self.history = History()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            assert isinstance(pl_module, VAEModule)
            self._note(trainer, pl_module, "val", pl_module.units.compute())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, VAEModule)
        held_out = _held_out(trainer)
        units = training_units(trainer, pl_module, self.num_images) if held_out == "train" else None
        self._note(trainer, pl_module, "train", units)
        if self.every > 0 and (trainer.current_epoch + 1) % self.every == 0:
            with averaged_weights(trainer, pl_module):
                self._plot(trainer, pl_module, held_out)

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
        batch = _data(trainer).random_items(split, self.num_images, module.device, seed=0)
        with torch.random.fork_rng():
            figures = plot_all(module.model, batch, split)
        for name, path in save_figures(figures, self.folder).items():
            for logger in trainer.loggers:
                log_image(logger, f"media/{name}", path, trainer.global_step)
        told = self.history
        if told.epochs:  # loggers draw curves themselves
            over_epochs = {"curves": curves(told.epochs, told.kl)}
            if any(map(any, told.sigma.values())):  # not of a point mass, which has no noise
                over_epochs["noise"] = noise(told.epochs, told.sigma)
            save_figures(over_epochs, self.folder)
            told.write(self.folder)

    def _note(
        self, trainer: Trainer, module: VAEModule, split: str, units: dict[str, Tensor] | None
    ) -> None:
        """Keep an epoch's metrics before the module forgets them. Every rank must call."""
        bounds = module.bounds[f"of_{split}"]
        assert isinstance(bounds, BoundMetrics)
        found, now = bounds.compute(), trainer.current_epoch + 1
        if units is not None:
            found["active_units"] = units["active"].sum()
            self.history.kl = units["kl"].tolist() if units["kl"].isfinite().all() else []
            if units["variance"].isfinite().all():
                self.history.sigma[now] = units["variance"].sqrt().tolist()
        epoch = self.history.epochs.setdefault(now, {})
        epoch |= {f"{split}/{name}": float(found[name]) for name in PANELS if name in found}

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.history)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = History(**state_dict)


def _held_out(trainer: Trainer) -> str:
    return "val" if len(_data(trainer).splits["val"]) else "train"


def _data(trainer: Trainer) -> ImageDataModule:
    data: ImageDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return data

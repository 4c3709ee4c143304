"""Loggers: W&B and CSV as this project uses them, and how images and histograms reach any."""

from vae_lab.loggers.csv import CSV
from vae_lab.loggers.epoch import log_epoch
from vae_lab.loggers.media import log_histograms, log_image, takes_histograms
from vae_lab.loggers.wandb import WandB, has_wandb_key

__all__ = [
    "CSV",
    "WandB",
    "has_wandb_key",
    "log_epoch",
    "log_histograms",
    "log_image",
    "takes_histograms",
]

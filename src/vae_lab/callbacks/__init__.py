"""Callbacks: selection, averaged weights, skipped steps, and what the logger receives."""

from vae_lab.callbacks.averaging import WeightAverage
from vae_lab.callbacks.figures import Figures
from vae_lab.callbacks.gradient_skip import GradientSkip
from vae_lab.callbacks.histograms import Histograms
from vae_lab.callbacks.latents import Latents
from vae_lab.callbacks.progress import Progress
from vae_lab.callbacks.selection import BestCheckpoint, EarlyStopping, LastCheckpoint, MaxSteps
from vae_lab.callbacks.system import System

__all__ = [
    "BestCheckpoint",
    "EarlyStopping",
    "Figures",
    "GradientSkip",
    "Histograms",
    "LastCheckpoint",
    "Latents",
    "MaxSteps",
    "Progress",
    "System",
    "WeightAverage",
]

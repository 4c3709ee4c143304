"""Callbacks: selection, progress, figures, averaged weights, skipped steps."""

from vae_lab.callbacks.averaging import WeightAverage
from vae_lab.callbacks.figures import Figures
from vae_lab.callbacks.gradient_skip import GradientSkip
from vae_lab.callbacks.progress import Progress
from vae_lab.callbacks.selection import BestCheckpoint, EarlyStopping, LastCheckpoint, MaxSteps

__all__ = [
    "BestCheckpoint",
    "EarlyStopping",
    "Figures",
    "GradientSkip",
    "LastCheckpoint",
    "MaxSteps",
    "Progress",
    "WeightAverage",
]

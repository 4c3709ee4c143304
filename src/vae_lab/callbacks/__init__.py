"""Callbacks: selection, progress, figures."""

from vae_lab.callbacks.figures import Figures
from vae_lab.callbacks.progress import Progress
from vae_lab.callbacks.selection import BestCheckpoint, EarlyStopping, LastCheckpoint, MaxSteps

__all__ = ["BestCheckpoint", "EarlyStopping", "Figures", "LastCheckpoint", "MaxSteps", "Progress"]

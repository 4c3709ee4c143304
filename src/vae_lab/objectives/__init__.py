"""Objectives: a Trace -> nats, (B,), to be maximised."""

from vae_lab.objectives.base import Objective
from vae_lab.objectives.elbo import ELBO, elbo
from vae_lab.objectives.iwae import IWAE, iwae
from vae_lab.objectives.reconstruction import Reconstruction
from vae_lab.objectives.schedules import Constant, Cyclical, LinearWarmup, Schedule

__all__ = [
    "ELBO",
    "IWAE",
    "Constant",
    "Cyclical",
    "LinearWarmup",
    "Objective",
    "Reconstruction",
    "Schedule",
    "elbo",
    "iwae",
]

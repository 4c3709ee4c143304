"""Objectives: a Trace -> nats, (B,), to be maximised."""

from vae_lab.objectives.adversarial import Adversarial
from vae_lab.objectives.base import Objective
from vae_lab.objectives.beta_tc import BetaTC
from vae_lab.objectives.capacity import Capacity
from vae_lab.objectives.dip import DIPI, DIPII
from vae_lab.objectives.elbo import ELBO, WeightedKL, elbo
from vae_lab.objectives.free_bits import FreeBits, FreeBitsTotal
from vae_lab.objectives.info_vae import InfoVAE
from vae_lab.objectives.iwae import IWAE, iwae
from vae_lab.objectives.reconstruction import Reconstruction
from vae_lab.objectives.schedules import Constant, Cyclical, LinearWarmup, Schedule
from vae_lab.objectives.vq import VQ

__all__ = [
    "DIPI",
    "DIPII",
    "ELBO",
    "IWAE",
    "VQ",
    "Adversarial",
    "BetaTC",
    "Capacity",
    "Constant",
    "Cyclical",
    "FreeBits",
    "FreeBitsTotal",
    "InfoVAE",
    "LinearWarmup",
    "Objective",
    "Reconstruction",
    "Schedule",
    "WeightedKL",
    "elbo",
    "iwae",
]

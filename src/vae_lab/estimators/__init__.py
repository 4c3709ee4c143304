"""Estimators: how z is drawn, and what gradient follows."""

from vae_lab.estimators.base import Estimator
from vae_lab.estimators.dreg import DoublyReparameterised
from vae_lab.estimators.pathwise import Pathwise
from vae_lab.estimators.sampled import sampled
from vae_lab.estimators.score_function import ScoreFunction
from vae_lab.estimators.stl import StickingTheLanding
from vae_lab.estimators.straight_through import StraightThrough

__all__ = [
    "DoublyReparameterised",
    "Estimator",
    "Pathwise",
    "ScoreFunction",
    "StickingTheLanding",
    "StraightThrough",
    "sampled",
]

"""Estimators: how z is drawn, and what gradient follows."""

from vae_lab.estimators.base import Estimator
from vae_lab.estimators.pathwise import Pathwise
from vae_lab.estimators.sampled import sampled

__all__ = ["Estimator", "Pathwise", "sampled"]

"""Posteriors: families for q(z|x)."""

from vae_lab.model.posteriors.categorical import Categorical
from vae_lab.model.posteriors.diagonal_gaussian import DiagonalGaussian

__all__ = ["Categorical", "DiagonalGaussian"]

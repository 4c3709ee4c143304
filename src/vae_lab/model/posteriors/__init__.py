"""Posteriors: families for q(z|x)."""

from vae_lab.model.posteriors.diagonal_gaussian import DiagonalGaussian
from vae_lab.model.posteriors.point_mass import PointMass

__all__ = ["DiagonalGaussian", "PointMass"]

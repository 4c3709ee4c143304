"""Posteriors: families for q(z|x)."""

from vae_lab.model.posteriors.categorical import Categorical
from vae_lab.model.posteriors.diagonal_gaussian import DiagonalGaussian
from vae_lab.model.posteriors.finite_scalar import FiniteScalar
from vae_lab.model.posteriors.flow import FlowPosterior
from vae_lab.model.posteriors.full_covariance import FullCovariance
from vae_lab.model.posteriors.point_mass import PointMass
from vae_lab.model.posteriors.uniform import UniformPosterior
from vae_lab.model.posteriors.vector_quantised import VectorQuantised

__all__ = [
    "Categorical",
    "DiagonalGaussian",
    "FiniteScalar",
    "FlowPosterior",
    "FullCovariance",
    "PointMass",
    "UniformPosterior",
    "VectorQuantised",
]

"""Priors: a Context -> p(z) or p(z|y)."""

from vae_lab.model.priors.autoregressive import AutoregressivePrior
from vae_lab.model.priors.base import Prior
from vae_lab.model.priors.class_gaussian import ClassGaussian
from vae_lab.model.priors.class_means import ClassMeans
from vae_lab.model.priors.class_mixture import ClassMixture
from vae_lab.model.priors.flow import FlowPrior
from vae_lab.model.priors.mixture import Mixture
from vae_lab.model.priors.standard_normal import StandardNormal
from vae_lab.model.priors.uniform_categorical import UniformCategorical
from vae_lab.model.priors.uniform_codes import UniformCodes
from vae_lab.model.priors.vamp import VampPrior

__all__ = [
    "AutoregressivePrior",
    "ClassGaussian",
    "ClassMeans",
    "ClassMixture",
    "FlowPrior",
    "Mixture",
    "Prior",
    "StandardNormal",
    "UniformCategorical",
    "UniformCodes",
    "VampPrior",
]

"""Priors: a Context -> p(z) or p(z|y)."""

from vae_lab.model.priors.base import Prior
from vae_lab.model.priors.class_means import ClassMeans
from vae_lab.model.priors.class_mixture import ClassMixture
from vae_lab.model.priors.standard_normal import StandardNormal

__all__ = ["ClassMeans", "ClassMixture", "Prior", "StandardNormal"]

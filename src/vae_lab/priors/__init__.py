"""Priors: a Site -> p(z) or p(z|y)."""

from vae_lab.priors.base import Prior, Site
from vae_lab.priors.class_means import ClassMeans
from vae_lab.priors.standard_normal import StandardNormal

__all__ = ["ClassMeans", "Prior", "Site", "StandardNormal"]

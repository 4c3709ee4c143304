"""Families: network output -> distribution. Posteriors and likelihoods are one kind of thing."""

from vae_lab.families.base import Family, Likelihood, Support
from vae_lab.families.bernoulli import Bernoulli, BernoulliGrey
from vae_lab.families.continuous_bernoulli import ContinuousBernoulli
from vae_lab.families.diagonal_gaussian import DiagonalGaussian
from vae_lab.families.discretized_logistic import DiscretizedLogistic
from vae_lab.families.gaussian import FixedSigma, Gaussian, LearnedSigma, OptimalSigma, Sigma

__all__ = [
    "Bernoulli",
    "BernoulliGrey",
    "ContinuousBernoulli",
    "DiagonalGaussian",
    "DiscretizedLogistic",
    "Family",
    "FixedSigma",
    "Gaussian",
    "LearnedSigma",
    "Likelihood",
    "OptimalSigma",
    "Sigma",
    "Support",
]

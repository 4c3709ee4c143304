"""Likelihoods: families for p(x|z), each with the support of x that it is defined on."""

from vae_lab.model.likelihoods.base import Likelihood
from vae_lab.model.likelihoods.bernoulli import Bernoulli, BernoulliGrey
from vae_lab.model.likelihoods.categorical import Categorical
from vae_lab.model.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vae_lab.model.likelihoods.discretized_logistic import DiscretizedLogistic
from vae_lab.model.likelihoods.discretized_logistic_mixture import DiscretizedLogisticMixture
from vae_lab.model.likelihoods.gaussian import Gaussian
from vae_lab.model.likelihoods.sigma import FixedSigma, LearnedSigma, OptimalSigma, Sigma

__all__ = [
    "Bernoulli",
    "BernoulliGrey",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "FixedSigma",
    "Gaussian",
    "LearnedSigma",
    "Likelihood",
    "OptimalSigma",
    "Sigma",
]

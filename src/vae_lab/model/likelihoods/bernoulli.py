"""Bernoulli likelihoods: of bits, and of grey pixels, which is not a likelihood."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from vae_lab.model.family import ElementwiseFamily
from vae_lab.model.likelihoods.base import Likelihood
from vae_lab.support import Support


def _bernoulli(logits: Tensor, event_dims: int) -> Distribution:
    base = torch.distributions.Bernoulli(logits=logits, validate_args=False)
    return Independent(base, event_dims, validate_args=False)


class Bernoulli(Likelihood, ElementwiseFamily):
    """p(x|z) = prod_i Bernoulli(x_i; sigmoid(logit_i)), for binarised data.

    >>> Bernoulli((1, 28, 28))(torch.zeros(1, 28, 28)).log_prob(torch.zeros(1, 28, 28)) / 784
    tensor(-0.6931)
    """

    params_per_value = 1
    support = Support.BINARY

    def distribution(self, params: Tensor) -> Distribution:
        return _bernoulli(params, len(self.event_shape))


class BernoulliGrey(Likelihood, ElementwiseFamily):
    """Cross-entropy on grey pixels: what many tutorials train.

    No density over [0, 1] and no probability over levels, so its numbers are not log-likelihoods
    and compare with nothing but themselves.
    """

    params_per_value = 1
    support = Support.GREY

    def distribution(self, params: Tensor) -> Distribution:
        return _bernoulli(params, len(self.event_shape))

"""The continuous Bernoulli likelihood.

Loaiza-Ganem and Cunningham, The continuous Bernoulli, 2019 (https://arxiv.org/abs/1907.06845).
"""

from torch import Tensor
from torch.distributions import Distribution, Independent

from vae_lab.model.distributions.continuous_bernoulli import ContinuousBernoulliDistribution
from vae_lab.model.family import ElementwiseFamily
from vae_lab.model.likelihoods.base import Likelihood
from vae_lab.support import Support


class ContinuousBernoulli(Likelihood, ElementwiseFamily):
    """p(x|z) = prod_i CB(x_i; logit_i), a density over [0, 1]."""

    params_per_value = 1
    support = Support.CONTINUOUS

    def distribution(self, params: Tensor) -> Distribution:
        base = ContinuousBernoulliDistribution(params)
        return Independent(base, len(self.event_shape), validate_args=False)

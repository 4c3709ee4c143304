"""The discretised logistic likelihood.

Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016
(https://arxiv.org/abs/1606.04934).
"""

from torch import Tensor
from torch.distributions import Distribution, Independent

from vae_lab.model.distributions.discretized_logistic import DiscretizedLogisticDistribution
from vae_lab.model.family import ElementwiseFamily, soft_bound
from vae_lab.model.likelihoods.base import Likelihood
from vae_lab.support import Support


class DiscretizedLogistic(Likelihood, ElementwiseFamily):
    """p(x|z) = prod_i P(x_i), each with its own location and scale, for 8-bit images."""

    params_per_value = 2
    support = Support.LEVELS

    def distribution(self, params: Tensor) -> Distribution:
        raw_loc, raw_scale = self.split(params)
        loc = 0.5 + raw_loc / 2
        log_scale = soft_bound(raw_scale, 5.0) - 2.5  # e^-7.5 .. e^2.5: from a tenth of a level up
        base = DiscretizedLogisticDistribution(loc, log_scale)
        return Independent(base, len(self.event_shape), validate_args=False)

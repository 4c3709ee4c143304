"""The likelihood of discretised logistics in a mixture.

Salimans, Karpathy, Chen and Kingma, PixelCNN++: Improving the PixelCNN with Discretized Logistic
Mixture Likelihood and Other Modifications, 2017 (https://arxiv.org/abs/1701.05517).
"""

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily

from vae_lab.arguments import Count
from vae_lab.model.distributions.discretized_logistic import DiscretizedLogisticDistribution
from vae_lab.model.family import ElementwiseFamily, soft_bound
from vae_lab.model.likelihoods.base import Likelihood
from vae_lab.support import Support
from vae_lab.trace import Shape


class DiscretizedLogisticMixture(Likelihood, ElementwiseFamily):
    """p(x|z) = prod_i sum_k w_ik P_ik(x_i), each P a discretised logistic, for 8-bit images.

    Every value has weights, locations and scales of its own. Given z the colours of a pixel are
    independent: the paper's regression of green on red, and of blue on both, is left out.

    Where the network says 0, the locations are spread evenly over [0, 1], so that no two
    components learn the same.
    """

    support = Support.LEVELS

    def __init__(self, event_shape: Shape, components: Count) -> None:
        """`event_shape` is that of x; `components` how many logistics each value mixes."""
        super().__init__(event_shape)
        self.components = components
        self.params_per_value = 3 * components

    def distribution(self, params: Tensor) -> Distribution:
        logits, raw_loc, raw_scale = self.side_by_side(params).chunk(3, -1)  # (*batch, *X, K)
        order = torch.arange(self.components, device=params.device, dtype=params.dtype)
        loc = (order + 0.5) / self.components + raw_loc / 2
        log_scale = soft_bound(raw_scale, 5.0) - 2.5  # as the discretised logistic's
        base = MixtureSameFamily(
            Categorical(logits=logits, validate_args=False),
            DiscretizedLogisticDistribution(loc, log_scale),
            validate_args=False,
        )
        return Independent(base, len(self.event_shape), validate_args=False)

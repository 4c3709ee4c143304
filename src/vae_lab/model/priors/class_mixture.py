"""A learned mixture of Gaussians per class."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from vae_lab.arguments import Count
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.family import soft_bound
from vae_lab.model.priors.base import Prior


class ClassMixture(Prior):
    """p(z|y) = sum_k w_yk N(mu_yk, diag(sigma_yk^2)), `components` for each class, all learned.

    One Gaussian leaves room between it and the codes of its class, from which samples are drawn
    that look like no class at all; a mixture follows the codes. The means start as draws from
    N(0, I), so that no two components are alike. log sigma is bounded softly within +-7, so that
    none shrinks onto a point.
    """

    reads_labels = True

    def __init__(self, context: Context, components: Count) -> None:
        """Raises InputError where the data have no classes."""
        super().__init__(context)
        if context.num_classes is None:
            raise InputError(
                "a prior with a mixture per class needs labels, but the data have none: choose "
                "data with labels, or model/prior=standard_normal."
            )
        size = (context.num_classes, components)
        self.logits = nn.Parameter(torch.zeros(size))
        self.mu = nn.Parameter(torch.randn(*size, *self.z_shape))
        self.log_sigma = nn.Parameter(torch.zeros(*size, *self.z_shape))

    def forward(self, y: Tensor | None) -> Distribution:
        """Raises InputError without labels."""
        if y is None:
            raise InputError("this model's prior reads labels: give it y.")
        sigma = soft_bound(self.log_sigma[y], 7.0).exp()  # (B, components, *Z)
        return MixtureSameFamily(
            Categorical(logits=self.logits[y], validate_args=False),
            diagonal_normal(self.mu[y], sigma, len(self.z_shape)),
            validate_args=False,
        )

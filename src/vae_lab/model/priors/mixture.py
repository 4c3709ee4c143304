"""A learned mixture of Gaussians."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from vae_lab.arguments import Count
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.family import before_soft_bound, soft_bound
from vae_lab.model.priors.base import Prior
from vae_lab.model.priors.em import gaussians_of

_BOUND = 7.0  # of log sigma


class Mixture(Prior):
    """p(z) = sum_k w_k N(mu_k, diag(sigma_k^2)) of `components`, all learned.

    The means start as draws from N(0, I), so that no two components are alike. log sigma is bounded
    softly within +-7, so that none shrinks onto a point.
    """

    reads_labels = False

    def __init__(self, context: Context, components: Count) -> None:
        super().__init__(context)
        self.logits = nn.Parameter(torch.zeros(components))
        self.mu = nn.Parameter(torch.randn(components, *self.z_shape))
        self.log_sigma = nn.Parameter(torch.zeros(components, *self.z_shape))

    @torch.no_grad()
    def start_from(self, z: Tensor, y: Tensor | None, seed: int) -> None:
        """By EM; of no more codes than components, not at all."""
        found = gaussians_of(z.flatten(1), len(self.logits), "diag", seed)
        if found is None:
            return
        self.logits.copy_(found.log_weights)
        self.mu.copy_(found.mu.view_as(self.mu))
        log_sigma = before_soft_bound(found.covariance.log() / 2, _BOUND)
        self.log_sigma.copy_(log_sigma.view_as(self.log_sigma))

    def forward(self, y: Tensor | None) -> Distribution:
        sigma = soft_bound(self.log_sigma, _BOUND).exp()
        return MixtureSameFamily(
            Categorical(logits=self.logits, validate_args=False),
            diagonal_normal(self.mu, sigma, len(self.z_shape)),
            validate_args=False,
        )

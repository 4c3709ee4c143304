"""A learned mean per class."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.labels import needed_classes, needed_label
from vae_lab.model.priors.base import Prior


class ClassMeans(Prior):
    """p(z|y) = N(mu_y, I) with mu learned, so that a class is drawn by moving the mean.

    Against a diagonal Gaussian posterior the KL is
    1/2 sum((mu - mu_y)^2 + sigma^2 - log sigma^2 - 1).
    """

    reads_labels = True

    def __init__(self, context: Context) -> None:
        """Raises InputError where the data have no classes."""
        super().__init__(context)
        num_classes = needed_classes(context.num_classes, "model/prior=standard_normal")
        self.mu = nn.Parameter(torch.randn(num_classes, *self.z_shape))

    def forward(self, y: Tensor | None) -> Distribution:
        """Raises InputError without labels."""
        mu = self.mu[needed_label(y)]  # (B, *Z)
        return diagonal_normal(mu, torch.ones_like(mu), mu.dim() - 1)

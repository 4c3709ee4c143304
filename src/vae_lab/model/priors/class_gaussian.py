"""A learned Gaussian per class."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.family import soft_bound
from vae_lab.model.labels import needed_classes, needed_label
from vae_lab.model.priors.base import Prior


class ClassGaussian(Prior):
    """p(z|y) = N(mu_y, diag(sigma_y^2)), both learned; every class starts as N(0, I).

    The conditional prior of Sohn, Lee and Yan, Learning Structured Output Representation using Deep
    Conditional Generative Models, 2015, as a table of the classes: mu_y, and log sigma_y^2, which
    is bounded softly within +-14 as the posterior's is.
    """

    reads_labels = True

    def __init__(self, context: Context) -> None:
        """Raises InputError where the data have no classes."""
        super().__init__(context)
        num_classes = needed_classes(context.num_classes, "model/prior=standard_normal")
        self.mu = nn.Parameter(torch.zeros(num_classes, *self.z_shape))
        self.log_var = nn.Parameter(torch.zeros(num_classes, *self.z_shape))

    def forward(self, y: Tensor | None) -> Distribution:
        """Raises InputError without labels."""
        y = needed_label(y)
        sigma = (soft_bound(self.log_var[y], 14.0) / 2).exp()
        return diagonal_normal(self.mu[y], sigma, len(self.z_shape))

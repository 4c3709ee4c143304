"""A learned mixture of Gaussians per class."""

from math import prod

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal

from vae_lab.arguments import Count
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.model.family import soft_bound
from vae_lab.model.labels import needed_classes, needed_label
from vae_lab.model.priors.base import Prior


class ClassMixture(Prior):
    """p(z|y) = sum_k w_yk N(mu_yk, L_yk L_yk^T), `components` for each class, all learned.

    The codes of a class fill no ball: a single Gaussian without correlations reaches where no code
    lies, and what is decoded there looks like no class. Covariances are full, so z is a vector. The
    means start as draws from N(0, I), so that no two components are alike, and each L as I; the log
    of its diagonal is bounded softly within +-7, so that none shrinks onto a point.
    """

    reads_labels = True

    def __init__(self, context: Context, components: Count) -> None:
        """Raises InputError where the data have no classes, or z is no vector."""
        super().__init__(context)
        num_classes = needed_classes(context.num_classes, "model/prior=standard_normal")
        if len(self.z_shape) != 1:
            units = prod(self.z_shape)
            raise InputError(
                f"a prior with full covariances needs a vector z: set model.z_shape=[{units}]."
            )
        size, units = (num_classes, components), self.z_shape[0]
        self.logits = nn.Parameter(torch.zeros(size))
        self.mu = nn.Parameter(torch.randn(*size, units))
        self.log_diagonal = nn.Parameter(torch.zeros(*size, units))
        self.below = nn.Parameter(torch.zeros(*size, units, units))  # of L; the rest is not read

    def forward(self, y: Tensor | None) -> Distribution:
        """Raises InputError without labels."""
        y = needed_label(y)
        diagonal = soft_bound(self.log_diagonal, 7.0).exp()
        scale_tril = self.below.tril(-1) + torch.diag_embed(diagonal)
        return MixtureSameFamily(
            Categorical(logits=self.logits[y], validate_args=False),
            MultivariateNormal(self.mu[y], scale_tril=scale_tril[y], validate_args=False),
            validate_args=False,
        )

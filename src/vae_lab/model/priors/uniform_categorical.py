"""Every class of every variable is as likely."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.context import Context
from vae_lab.model.distributions.one_hots import check_one_hots, one_hots
from vae_lab.model.priors.base import Prior


class UniformCategorical(Prior):
    """p(z) = K^-M over M one-hot rows of K classes: the KL to it is M log K less q's entropy."""

    reads_labels = False
    zeros: Tensor

    def __init__(self, context: Context) -> None:
        """Raises InputError unless z is (M, K)."""
        super().__init__(context)
        check_one_hots(self.z_shape)
        self.register_buffer("zeros", torch.zeros(self.z_shape), persistent=False)

    def forward(self, y: Tensor | None) -> Distribution:
        return one_hots(self.zeros)

"""The standard normal prior."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.priors.base import Prior


class StandardNormal(Prior):
    """p(z) = N(0, I)."""

    reads_labels = False
    zeros: Tensor
    ones: Tensor

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.register_buffer("zeros", torch.zeros(self.z_shape), persistent=False)
        self.register_buffer("ones", torch.ones(self.z_shape), persistent=False)

    def forward(self, y: Tensor | None) -> Distribution:
        return diagonal_normal(self.zeros, self.ones, self.zeros.dim())

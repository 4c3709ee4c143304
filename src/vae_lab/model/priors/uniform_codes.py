"""Every code at every position is as likely."""

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent

from vae_lab.model.context import Context
from vae_lab.model.priors.base import Prior
from vae_lab.model.priors.over_codes import over_codes


class UniformCodes(Prior):
    """p(z) = K^-M over M positions of K codes: the KL of a z that is one code is M log K."""

    reads_labels = False
    zeros: Tensor

    def __init__(self, context: Context) -> None:
        """Raises InputError where z is no codes."""
        super().__init__(context)
        self.of_codes, (self.positions, codes) = over_codes(context)
        self.register_buffer("zeros", torch.zeros(codes), persistent=False)

    def forward(self, y: Tensor | None) -> Distribution:
        logits = self.zeros.expand(self.positions, -1)
        indices = Categorical(logits=logits, validate_args=False)
        return self.of_codes(Independent(indices, 1, validate_args=False))

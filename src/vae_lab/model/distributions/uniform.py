"""A uniform distribution whose draws lie where its density is not zero."""

import torch
from torch import Tensor
from torch.distributions import Uniform as TorchUniform

from vae_lab.model.distributions import Size


class Uniform(TorchUniform):
    """torch's Uniform on [low, high); its KL and densities are torch's own.

    A draw just below `high` may be rounded up to it, outside the support, where log q is -inf: a
    few in 10 million are. Here they are the last value inside.
    """

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__(low, high, validate_args=False)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        last = torch.nextafter(self.high.detach(), self.low.detach())
        return torch.minimum(super().rsample(torch.Size(sample_shape)), last)

    def expand(self, batch_shape: Size, _instance: object = None) -> "Uniform":
        return Uniform(self.low.expand(*batch_shape), self.high.expand(*batch_shape))

"""A normal distribution whose draws are out of place, so that they survive vmap."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from vae_lab.model.distributions import Size


class Normal(TorchNormal):
    """torch's Normal, drawing with `torch.randn`; its KL and densities are torch's own."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        """`loc` and `scale` are of one shape."""
        self.loc, self.scale = loc, scale
        Distribution.__init__(self, loc.shape, validate_args=False)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + noise * self.scale

    def sample(self, sample_shape: Size = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def expand(self, batch_shape: Size, _instance: object = None) -> "Normal":
        return Normal(self.loc.expand(*batch_shape), self.scale.expand(*batch_shape))


def diagonal_normal(loc: Tensor, scale: Tensor, event_dims: int) -> Distribution:
    """N(loc, diag(scale^2)), its last `event_dims` dimensions one event.

    >>> diagonal_normal(torch.zeros(5, 3), torch.ones(5, 3), 1).log_prob(torch.zeros(3)).shape
    torch.Size([5])
    """
    return Independent(Normal(loc, scale), event_dims, validate_args=False)

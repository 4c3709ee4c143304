"""The Gaussian with a full covariance."""

from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.model.distributions.multivariate_normal import full_normal
from vae_lab.model.family import Family, soft_bound
from vae_lab.trace import Shape


class FullCovariance(Family):
    """N(mu, L L^T), where L = diag(sigma) (I + A / sqrt(D)) and A is strictly lower triangular.

    Log sigma and the entries of A are bounded softly within +-7. Divided by sqrt(D), D units, they
    leave float32 enough of L^-1: plain entries of size 1 cost log q whole nats at 32 units.

    >>> FullCovariance((32,)).param_shape
    (560,)
    """

    places: Tensor

    def __init__(self, event_shape: Shape) -> None:
        """Raises InputError unless z is a vector. `event_shape` is its shape, (D,)."""
        super().__init__(event_shape)
        if len(self.event_shape) != 1:
            raise InputError(
                f"a posterior with a full covariance needs z to be a vector, not of shape "
                f"{list(self.event_shape)}: say model.z_shape=[{prod(self.event_shape)}]."
            )
        (units,) = self.event_shape
        below = torch.ones(units, units).tril(-1).flatten()  # of which each has a place, others 0
        places = (below.cumsum(0) * below).long().reshape(units, units)
        self.register_buffer("places", places, persistent=False)

    @property
    def param_shape(self) -> Shape:
        (units,) = self.event_shape
        return (units + units * (units + 1) // 2,)

    def distribution(self, params: Tensor) -> Distribution:
        (units,) = self.event_shape
        bounded = soft_bound(params[..., units:], 7.0)
        mu, sigma, below = params[..., :units], bounded[..., :units].exp(), bounded[..., units:]
        a = nn.functional.pad(below / sqrt(units), (1, 0))[..., self.places]
        eye = torch.eye(units, dtype=params.dtype, device=params.device)
        return full_normal(mu, sigma.unsqueeze(-1) * (eye + a))

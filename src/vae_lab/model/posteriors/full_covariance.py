"""The Gaussian with a full covariance."""

from math import prod, sqrt

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.utils import vec_to_tril_matrix

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

    def __init__(self, event_shape: Shape) -> None:
        """Raises InputError unless z is a vector. `event_shape` is its shape, (D,)."""
        super().__init__(event_shape)
        if len(self.event_shape) != 1:
            raise InputError(
                f"a posterior with a full covariance needs z to be a vector, not of shape "
                f"{list(self.event_shape)}: say model.z_shape=[{prod(self.event_shape)}]."
            )

    @property
    def param_shape(self) -> Shape:
        (units,) = self.event_shape
        return (units + units * (units + 1) // 2,)

    def distribution(self, params: Tensor) -> Distribution:
        (units,) = self.event_shape
        mu, rows = params[..., :units], params[..., units:]
        bounded = soft_bound(vec_to_tril_matrix(rows), 7.0)
        sigma = bounded.diagonal(dim1=-2, dim2=-1).exp()
        eye = torch.eye(units, dtype=params.dtype, device=params.device)
        return full_normal(mu, sigma.unsqueeze(-1) * (eye + bounded.tril(-1) / sqrt(units)))

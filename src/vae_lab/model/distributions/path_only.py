"""A distribution whose density tells its draws how to move, and its parameters nothing."""

from typing import Any

from torch import Tensor
from torch.distributions import Distribution


class PathOnly(Distribution):
    """q with the same log-density, whose gradient flows through z alone.

    For draws that were made already. No KL is known of it in closed form, since that has no z.

    >>> mu = torch.tensor(0.5, requires_grad=True)
    >>> q = PathOnly(torch.distributions.Normal(mu, 1.0))
    >>> torch.autograd.grad(q.log_prob(torch.tensor(1.5)), mu)
    (tensor(0.),)
    """

    def __init__(self, q: Distribution) -> None:
        """`q` is any distribution."""
        self.q = q
        super().__init__(q.batch_shape, q.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log q of z, (*batch): a density's own value."""
        by_parameters = self.q.log_prob(value.detach())
        density: Tensor = self.q.log_prob(value) - by_parameters + by_parameters.detach()
        return density

    @property
    def support(self) -> Any:
        return self.q.support

"""A distribution whose density tells its draws how to move, and its parameters nothing."""

from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.distributions import Size


class PathOnly(Distribution):
    """q with the same log-density, whose gradient flows through z alone.

    No KL is known of it in closed form, since that has no z.

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

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        drawn: Tensor = self.q.rsample(sample_shape)
        return drawn

    def sample(self, sample_shape: Size = ()) -> Tensor:
        drawn: Tensor = self.q.sample(sample_shape)
        return drawn

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return bool(self.q.has_rsample)

    @property
    def support(self) -> Any:
        return self.q.support

    @property
    def mean(self) -> Tensor:
        return self.q.mean

    @property
    def mode(self) -> Tensor:
        return self.q.mode

    @property
    def variance(self) -> Tensor:
        return self.q.variance

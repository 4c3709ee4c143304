"""All mass on one value."""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.distributions.constraints import Constraint

from vae_lab.model.distributions import Size


class _Only(Constraint):
    """One value alone, which the parameters say: see `vae_lab.trace.has_fixed_support`."""

    def __init__(self, value: Tensor) -> None:
        self.value = value
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        return value == self.value


class Delta(Distribution):
    """Dirac's delta at `value`, (*batch, *event): every draw is the value, and passes its gradient.

    Its density is infinite there and zero elsewhere, so that its KL to any density is infinite: it
    has no ELBO. Mean and mode are the value, the variance is 0.
    """

    arg_constraints = {}  # noqa: RUF012  (torch's own interface)
    has_rsample = True

    def __init__(self, value: Tensor, event_dim: int) -> None:
        """`event_dim` of the last dimensions of `value` are one event's."""
        self.value = value
        split = value.dim() - event_dim
        super().__init__(value.shape[:split], value.shape[split:], validate_args=False)

    @property
    def support(self) -> Constraint:
        return constraints.independent(_Only(self.value), len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        return self.value

    @property
    def mode(self) -> Tensor:
        return self.value

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.value)

    def expand(self, batch_shape: Size, _instance: object = None) -> "Delta":
        return Delta(self.value.expand(*batch_shape, *self.event_shape), len(self.event_shape))

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return self.value.expand(self._extended_shape(torch.Size(sample_shape)))

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return self.rsample(sample_shape).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        """Plus infinity at the value, minus infinity elsewhere, (*sample, *batch)."""
        event = tuple(range(-len(self.event_shape), 0))
        there = (value == self.value).all(event) if event else value == self.value
        infinity = torch.full_like(there, torch.inf, dtype=self.value.dtype)
        return torch.where(there, infinity, -infinity)


@register_kl(Delta, Distribution)  # type: ignore[untyped-decorator]
def _kl_delta(q: Delta, p: Distribution) -> Tensor:
    """Infinite, to whatever has a density: known exactly, not estimated."""
    shape = torch.broadcast_shapes(q.batch_shape, p.batch_shape)
    return torch.full(shape, torch.inf, dtype=q.value.dtype, device=q.value.device)

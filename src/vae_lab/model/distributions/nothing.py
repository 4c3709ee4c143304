"""A random variable without values."""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.distributions.constraints import Constraint

from vae_lab.model.distributions import Size


class Nothing(Distribution):
    """The one distribution over z of no units: what a model without a latent draws.

    Every probability is 1 and every KL 0, so that the ELBO is the log-likelihood itself.
    """

    arg_constraints = {}  # noqa: RUF012  (torch's own interface)
    has_rsample = True

    def __init__(self, batch_shape: Size, like: Tensor) -> None:
        """`like` is a tensor of the type and on the device that draws shall have."""
        self.like = like
        super().__init__(torch.Size(batch_shape), torch.Size((0,)), validate_args=False)

    @property
    def support(self) -> Constraint:
        return constraints.real_vector

    @property
    def mean(self) -> Tensor:
        return self.like.new_zeros(*self.batch_shape, 0)

    @property
    def variance(self) -> Tensor:
        return self.mean

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        return self.like.new_zeros(*sample_shape, *self.batch_shape, 0)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """0, (*sample, *batch)."""
        return self.like.new_zeros(value.shape[:-1])


@register_kl(Nothing, Nothing)  # type: ignore[untyped-decorator]
def _kl_nothing(q: Nothing, p: Nothing) -> Tensor:
    return q.like.new_zeros(torch.broadcast_shapes(q.batch_shape, p.batch_shape))

"""Families: network output -> distribution. Posteriors and likelihoods are one kind of thing."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.trace import Shape, full_precision


class Family(nn.Module, ABC):
    """A family of distributions over events of one shape: params -> Distribution."""

    def __init__(self, event_shape: Shape) -> None:
        """`event_shape` is the shape of one event: of x for a likelihood, of z for a posterior."""
        super().__init__()
        self.event_shape = tuple(event_shape)

    @property
    @abstractmethod
    def param_shape(self) -> Shape:
        """The shape a network must produce for one event."""

    @full_precision
    def forward(self, params: Tensor) -> Distribution:
        """(*batch, *param_shape) -> a distribution with that batch shape, at least in float32."""
        return self.distribution(params.to(torch.promote_types(params.dtype, torch.float32)))

    @abstractmethod
    def distribution(self, params: Tensor) -> Distribution:
        """The distribution these parameters, (*batch, *param_shape), stand for."""

    def observe(self, value: Tensor, p: Distribution) -> None:
        """See one training batch after its pass: values, (S, B, *event) or (B, *event), with p.

        For what is fitted in closed form, in `refit` or at once. A step that is skipped is seen
        too, so that not all it says need be finite.
        """
        return


class ElementwiseFamily(Family, ABC):
    """A family that takes the same number of parameters for every value of the event."""

    params_per_value: int
    """How many parameters each value of the event takes from the network."""

    @property
    def param_shape(self) -> Shape:
        """The event's, grown in dimension 0 alone, which in an image is that of the channels."""
        first, *rest = self.event_shape
        return (self.params_per_value * first, *rest)

    def split(self, params: Tensor) -> tuple[Tensor, ...]:
        """The parameters in `params_per_value` pieces, each (*batch, *event_shape)."""
        return params.chunk(self.params_per_value, dim=-len(self.event_shape))

    def side_by_side(self, params: Tensor) -> Tensor:
        """The same pieces as a last dimension, (*batch, *event_shape, params_per_value)."""
        grown = -len(self.event_shape)
        pieces = params.unflatten(grown, (self.params_per_value, self.event_shape[0]))
        return pieces.movedim(grown - 1, -1)


class CodeFamily(Family, ABC):
    """A family over codes: z is M positions of one of K codes each, as good as M whole numbers."""

    num_positions: int
    """M."""
    num_codes: int
    """K, at each position."""

    @abstractmethod
    def indices_of(self, z: Tensor) -> Tensor:
        """Which code each position holds, (*batch, *event_shape) -> (*batch, M) of 0..K-1."""

    @abstractmethod
    def codes_of(self, indices: Tensor) -> Tensor:
        """The z of such indices, (*batch, M) -> (*batch, *event_shape)."""


def soft_bound(value: Tensor, bound: float) -> Tensor:
    """Squash smoothly into (-bound, bound): near the identity inside, a gradient everywhere.

    >>> soft_bound(torch.tensor([0.1, 100.0]), 7.0)
    tensor([0.1000, 7.0000])
    """
    return bound * torch.tanh(value / bound)


def before_soft_bound(bounded: Tensor, bound: float) -> Tensor:
    """What `soft_bound` squashes to these values, kept 0.1 % away from +-bound.

    >>> soft_bound(before_soft_bound(torch.tensor([-3.0, 100.0]), 7.0), 7.0)
    tensor([-3.0000,  6.9930])
    """
    return bound * torch.atanh((bounded / bound).clamp(-0.999, 0.999))

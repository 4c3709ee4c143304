"""All mass on the code that lies nearest to an encoder's output.

van den Oord, Vinyals and Kavukcuoglu, Neural Discrete Representation Learning, 2017
(https://arxiv.org/abs/1711.00937).
"""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from vae_lab.model.distributions import Size


class _OneCode(Constraint):
    """One code alone, which the parameters say: see `vae_lab.trace.has_fixed_support`."""

    is_discrete = True

    def __init__(self, code: Tensor) -> None:
        self.code = code
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        return value == self.code


class Quantised(Distribution):
    """A code z with probability 1: a mass on a discrete set, not a density as `Delta` has.

    A draw passes its gradient straight through to the encoder's output, as if z were that. The
    distance of both, which an objective may weigh, is `distortion`.
    """

    arg_constraints = {}  # noqa: RUF012  (torch's own interface)
    has_rsample = True

    def __init__(self, output: Tensor, code: Tensor, indices: Tensor) -> None:
        """Put the mass where the code is.

        Args:
            output: Of the encoder, (*batch, *event).
            code: What it became, of the same shape.
            indices: Which code that is at each of M positions, (*batch, M).
        """
        self.output, self.code, self.indices = output, code.detach(), indices
        split = indices.dim() - 1
        super().__init__(code.shape[:split], code.shape[split:], validate_args=False)

    @property
    def support(self) -> Constraint:
        return constraints.independent(_OneCode(self.code), len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        return self.code

    @property
    def mode(self) -> Tensor:
        return self.code

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.code)

    @property
    def distortion(self) -> Tensor:
        """The squared distance of the output from its code, summed over the event, (*batch)."""
        squares = (self.output - self.code).square()
        return squares.flatten(-len(self.event_shape)).sum(-1)

    def expand(self, batch_shape: Size, _instance: object = None) -> "Quantised":
        shape = (*batch_shape, *self.event_shape)
        indices = self.indices.expand(*batch_shape, -1)
        return Quantised(self.output.expand(shape), self.code.expand(shape), indices)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        straight = self.code + (self.output - self.output.detach())  # which adds 0, exactly
        return straight.expand(self._extended_shape(torch.Size(sample_shape)))

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return self.code.expand(self._extended_shape(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """0 at the code, minus infinity elsewhere, (*sample, *batch)."""
        there = (value == self.code).flatten(-len(self.event_shape)).all(-1)
        zero = torch.zeros_like(there, dtype=self.code.dtype)
        return torch.where(there, zero, -torch.inf)

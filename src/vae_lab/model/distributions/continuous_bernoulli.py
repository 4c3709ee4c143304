"""The continuous Bernoulli: cross-entropy on [0, 1] with the normaliser that makes it a density.

Loaiza-Ganem and Cunningham, The continuous Bernoulli, 2019 (https://arxiv.org/abs/1907.06845).

Written in the logit l it is the exponential distribution cut off at 1, p(x) = e^(l x) / M(l) with
M(l) = (e^l - 1) / l, which needs no clamp. torch's own is written in the probability, clamps it
near 0 and 1, and so loses its normaliser beyond |l| = 16; dark pixels of dequantised images want
l = -500.
"""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vae_lab.model.distributions import Size

_NEAR_ZERO = 0.1  # below it the closed forms cancel and their Taylor series are used


class ContinuousBernoulliDistribution(Distribution):
    """p(x) = l e^(l x) / (e^l - 1) on [0, 1]; `logits`, l, of any shape."""

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012  (torch's own interface)
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def expand(
        self, batch_shape: Size, _instance: object = None
    ) -> "ContinuousBernoulliDistribution":
        return ContinuousBernoulliDistribution(self.logits.expand(batch_shape))

    def _split(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where l is near zero, l there (else 0), and |l| elsewhere (else 1): safe both ways."""
        near = self.logits.abs() < _NEAR_ZERO
        return near, self.logits.where(near, 0.0), self.logits.abs().where(~near, 1.0)

    def log_prob(self, value: Tensor) -> Tensor:
        near, small, large = self._split()
        # log M(l) = max(l, 0) + log((1 - e^-|l|) / |l|)
        taylor = small / 2 + small**2 / 24 - small**4 / 2880
        exact = self.logits.clamp(min=0) + torch.log(-torch.expm1(-large)) - large.log()
        return self.logits * value - torch.where(near, taylor, exact)

    @property
    def mean(self) -> Tensor:
        near, small, large = self._split()
        taylor = 0.5 + small / 12 - small**3 / 720
        exact = 1 / -torch.expm1(-large) - 1 / large  # the mean at |l|
        return torch.where(near, taylor, torch.where(self.logits > 0, exact, 1 - exact))

    @property
    def variance(self) -> Tensor:
        near, small, large = self._split()
        exact = 1 / large**2 - 1 / (4 * torch.sinh(large.clamp(max=80) / 2) ** 2)
        return torch.where(near, 1 / 12 - small**2 / 240, exact)

    def rsample(self, sample_shape: Size = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        near, small, large = (t.expand(shape) for t in self._split())
        # Inverse distribution function at |l|, counted down from 1; mirrored for l < 0.
        exact = 1 + torch.log1p((1 - u) * torch.expm1(-large)) / large
        mirrored = torch.where(self.logits.expand(shape) > 0, exact, 1 - exact)
        taylor = u + u * (1 - u) * (small / 2 + small**2 * (1 - 2 * u) / 6)
        return torch.where(near, taylor, mirrored).clamp(0, 1)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

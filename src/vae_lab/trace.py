"""What one pass through a latent-variable model says: values, and where they came from.

Dimensions, here and throughout the package:

    S draws per datum, B data, L latent layers, *X and *Z event shapes.

Every log-density is in nats per datum: summed over event dimensions, never averaged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import ParamSpec, TypeGuard, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints, kl_divergence

Shape = tuple[int, ...]

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with autocast off: sums of thousands of bf16 terms are wrong by whole nats.

    Draws and log-densities carry it; networks do not.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if not (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")):
            return function(*args, **kwargs)
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return wrapped


@dataclass(frozen=True)
class Batch:
    """Data as a model sees them."""

    x: Tensor  # (B, *X) in [0, 1]
    y: Tensor | None  # (B,) class labels, where the data have them
    index: Tensor  # (B,) which data these are

    def __getitem__(self, items: slice | list[int]) -> Batch:
        """Some of the data."""
        return Batch(self.x[items], None if self.y is None else self.y[items], self.index[items])


@dataclass(frozen=True)
class Latent:
    """One draw z ~ q(z|x), the posterior it came from, the prior it answers to."""

    z: Tensor  # (S, B, *Z)
    q: Distribution  # q(z|x), batch shape (B,), or (S, B) below the top of a ladder
    p: Distribution  # p(z), batch shape (), (B,) or (S, B)

    @cached_property
    @full_precision
    def log_ratio(self) -> Tensor:
        """Log q(z|x) - log p(z), (S, B)."""
        return self.q.log_prob(self.z) - self.p.log_prob(self.z)

    @cached_property
    def kl(self) -> Tensor:
        """KL(q || p), (S, B): in closed form where torch knows one, else its one-draw estimate."""
        exact = _closed_form_kl(self.q, self.p)
        return self.log_ratio if exact is None else exact.expand(self.z.shape[:2])

    @cached_property
    def kl_per_unit(self) -> Tensor | None:
        """KL(q || p) of each unit of z, (S, B, *Z); None where it is no sum over them."""
        q, p = self.q, self.p
        if not (factorises(q) and factorises(p)):
            return None
        exact = _closed_form_kl(q.base_dist, p.base_dist)
        return None if exact is None else exact.expand(self.z.shape)

    @property
    def has_density(self) -> bool:
        """Whether q has a density where z is: a point mass has none."""
        return not bool(self.q.log_prob(self.z).isposinf().any())

    @property
    def has_closed_form_kl(self) -> bool:
        """Whether `kl` is exact rather than a Monte Carlo estimate."""
        return _closed_form_kl(self.q, self.p) is not None


@full_precision
def _closed_form_kl(q: Distribution, p: Distribution) -> Tensor | None:
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def factorises(p: Distribution) -> TypeGuard[Independent[Distribution]]:
    """Whether p says that it is a product over the units of z, each a scalar.

    >>> one = torch.distributions.Normal(torch.zeros(5, 3), torch.ones(5, 3))
    >>> factorises(Independent(one, 1))
    True
    """
    return isinstance(p, Independent) and not p.base_dist.event_shape


def is_discrete(p: Distribution) -> bool:
    """Whether p says that its support is discrete."""
    try:
        return bool(p.support.is_discrete)  # type: ignore[union-attr]
    except NotImplementedError:
        return False


def has_fixed_support(q: Distribution) -> bool:
    """Whether where q has mass does not depend on its parameters, so that its score has mean zero.

    A uniform's does, and a point mass's. Then the score function estimates another gradient, and
    importance weights miss where q does not reach: no number of draws brings them to log p(x).
    A q that does not say its support counts as fixed.

    >>> has_fixed_support(torch.distributions.Normal(torch.zeros(2), torch.ones(2)))
    True
    >>> has_fixed_support(torch.distributions.Uniform(torch.zeros(2), torch.ones(2)))
    False
    """
    try:
        support = q.support
    except NotImplementedError:
        return True
    while isinstance(support, constraints.independent | constraints.MixtureSameFamilyConstraint):
        support = support.base_constraint
    return not any(isinstance(bound, Tensor) for bound in vars(support).values())


@full_precision
def mean(q: Distribution) -> Tensor:
    """E_q[z], (*batch, *Z); that of a q without one in closed form, such as a flow, is of 64 draws.

    Of one-hots it is their probabilities. It may be costly: never computed in a training step.

    >>> mean(torch.distributions.OneHotCategorical(torch.tensor([0.25, 0.75])))
    tensor([0.2500, 0.7500])
    """
    try:
        return q.mean
    except NotImplementedError:
        return q.sample((64,)).mean(0)


@full_precision
def centre(q: Distribution) -> Tensor:
    """The one point that stands for q in figures and codes, (*batch, *Z).

    The mode of a discrete q, else its `mean`. Never computed in a training step.

    >>> centre(torch.distributions.OneHotCategorical(torch.tensor([0.25, 0.75])))
    tensor([0., 1.])
    """
    return q.mode if is_discrete(q) else mean(q)


Draw = Callable[[Distribution, Distribution], Latent]
"""How a latent is drawn: (q, p) -> Latent. Supplied by an estimator, or by an evaluation."""


@dataclass(frozen=True)
class Trace:
    """Everything one pass says about a batch: all that objectives and metrics read."""

    x: Tensor  # (B, *X)
    y: Tensor | None  # (B,)
    p_x: Distribution  # p(x|z), batch shape (S, B)
    latents: tuple[Latent, ...]  # top to bottom; a plain VAE has one

    @cached_property
    @full_precision
    def log_px(self) -> Tensor:
        """Log p(x|z), (S, B)."""
        return self.p_x.log_prob(self.x)

    @cached_property
    def kl(self) -> Tensor:
        """KL(q || p), one row per latent layer, (L, S, B)."""
        return torch.stack([latent.kl for latent in self.latents])

    @property
    def has_elbo(self) -> bool:
        """Whether there is an ELBO, as there is none where a posterior has no density."""
        return all(latent.has_density for latent in self.latents)

    @cached_property
    def log_w(self) -> Tensor:
        """Log importance weight log p(x, z) - log q(z|x), (S, B)."""
        return self.log_px - torch.stack([latent.log_ratio for latent in self.latents]).sum(0)

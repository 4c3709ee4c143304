"""Averages over items, right for uneven batches and several processes."""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution
from torchmetrics import Metric

from vae_lab.support import Support
from vae_lab.trace import Latent, Trace, centre, mean

ACTIVE_THRESHOLD = 0.01

T = TypeVar("T")


def bits_per_dim(nats: float, dims: int, support: Support, dequantized: bool) -> float | None:
    """Bits per dimension of a negative log-likelihood of `nats` over `dims` values.

    Discrete likelihoods: nats / (dims ln 2). Densities of dequantised 8-bit data, x = (k + u)/256:
    that plus 8 bits, an upper bound on the discrete number. None where it is not defined.

    >>> bits_per_dim(784 * math.log(2), 784, Support.BINARY, dequantized=False)
    1.0
    """
    bits = nats / (dims * math.log(2))
    if support.is_discrete:
        return bits
    return bits + 8 if support is Support.CONTINUOUS and dequantized else None


def by_layer(name: str, values: Iterable[T]) -> dict[str, T]:
    """What is known of each latent layer, top to bottom, by name; nothing where there is but one.

    >>> by_layer("rate", [7.0, 30.0])  # name_1 is next to x
    {'rate_2': 7.0, 'rate_1': 30.0}
    """
    every = list(values)
    names = (f"{name}_{layer}" for layer in range(len(every), 0, -1))
    return dict(zip(names, every, strict=True)) if len(every) > 1 else {}


class BoundMetrics(Metric):
    """Means per datum, in nats: ELBO at beta = 1, rate, distortion, the objective's own value.

    And the rate of each latent layer, where there are several, and the standard error of the ELBO's
    mean, from one value per datum. What is infinite does not exist, such as the ELBO and the rate
    of a point mass, and is left out.

    A training step has no time to sum up: `note` keeps what it gave, and `settle` adds it, which
    must come before anything is computed, stored or shared between processes.
    """

    full_state_update = False
    total: Tensor
    square: Tensor  # of the ELBO
    layers: Tensor  # rates, top to bottom
    count: Tensor
    NAMES = ("elbo", "rate", "distortion", "objective")

    def __init__(self, layers: int = 1) -> None:
        """`layers` is the number of latent layers."""
        super().__init__()
        zeros = torch.zeros(len(self.NAMES), dtype=torch.float64)
        self.add_state("total", zeros, dist_reduce_fx="sum")
        zeros = torch.zeros(layers, dtype=torch.float64)
        self.add_state("layers", zeros, dist_reduce_fx="sum")
        self.add_state("square", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")
        self._noted: list[tuple[Tensor, Tensor, Tensor]] = []  # what `_add` takes

    def update(self, trace: Trace, objective: Tensor) -> None:
        """Add a batch: its trace, and its objective per datum, (B,)."""
        self._add(trace.log_px, trace.kl, objective)

    def note(self, trace: Trace, objective: Tensor) -> None:
        """Keep a batch, to be added when `settle` is called."""
        self._noted.append((trace.log_px.detach(), trace.kl.detach(), objective.detach()))

    def settle(self) -> None:
        """Add all batches that were kept."""
        if self._noted:
            self._add(*(torch.cat(part, -1) for part in zip(*self._noted, strict=True)))
            self._noted.clear()
            self._update_count += 1
            self._computed = None  # torchmetrics keeps what it has computed until the next update

    def reset(self) -> None:
        """Forget all batches, those that were kept too."""
        super().reset()
        self._noted.clear()

    @torch.no_grad()
    def _add(self, log_px: Tensor, kl: Tensor, objective: Tensor) -> None:
        """Of shapes (S, B), (L, S, B) and (B,)."""
        rate, distortion = kl.sum(0).mean(0), -log_px.mean(0)
        elbos = (log_px - kl.sum(0)).mean(0)
        every = torch.stack([elbos, rate, distortion, objective]).double()  # (4, B)
        self.total += every.sum(1)
        self.square += every[0].square().sum()
        self.layers += kl.double().mean(1).sum(1)
        self.count += len(objective)

    def compute(self) -> dict[str, Tensor]:
        """Each name's mean over all items so far, and `elbo_standard_error`, where they exist."""
        assert not self._noted, "settle before"
        averages = self.total / self.count
        found = dict(zip(self.NAMES, averages.float(), strict=True))
        found |= by_layer("rate", (self.layers / self.count).float())
        if found["elbo"].isfinite():
            variance = (self.square / self.count - averages[0].square()).clamp(min=0)
            found["elbo_standard_error"] = (variance / (self.count - 1)).sqrt().float()
        return {name: value for name, value in found.items() if not value.isinf()}


class LatentUnits(Metric):
    """What each latent unit does, averaged over the data; units of all layers, one after another.

    `compute` returns, each of shape (units,): the posterior's `variance` E_x Var[z|x], the
    `variance_of_means` Var_x E[z|x], whether a unit is `active`, and the `kl` in nats. The two
    variances together are the aggregate posterior's; below the top of a ladder, where both are
    averages over the draws above, they lack how the mean moves with these. What a posterior does
    not know in closed form, or is no sum over units, is NaN.

    A unit is active where Var_x E[z|x] > 0.01: Burda, Grosse and Salakhutdinov 2016. E[z|x] of
    one-hots is their probabilities, whose mode may turn where they hardly move.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, units: int) -> None:
        """`units` is the number of latent units, over all layers."""
        super().__init__()
        zeros = torch.zeros(4, units, dtype=torch.float64)
        self.add_state("total", zeros, dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, trace: Trace) -> None:
        """Add a batch."""
        values = torch.cat([_per_unit(latent) for latent in trace.latents], 2)
        self.total += values.sum(1)
        self.count += values.shape[1]

    def compute(self) -> dict[str, Tensor]:
        """Each statistic, by name."""
        middle, square, variance, kl = self.total / self.count
        spread = square - middle.square()
        active = (spread > ACTIVE_THRESHOLD).float()
        return {"variance": variance, "variance_of_means": spread, "active": active, "kl": kl}

    def count_active(self, layer_sizes: Sequence[int]) -> dict[str, Tensor]:
        """How many units are active, in all and, of several layers, in each."""
        each = [units.sum() for units in self.compute()["active"].split(list(layer_sizes))]
        return {"active_units": torch.stack(each).sum(), **by_layer("active_units", each)}


def centres(trace: Trace) -> Tensor:
    """The centre of every latent's posterior, over the draws above it, (B, units)."""
    return torch.cat([_of_datum(centre(latent.q), latent.q) for latent in trace.latents], 1)


def means(trace: Trace) -> Tensor:
    """E_q[z] of every latent, over the draws above it, (B, units)."""
    return torch.cat([_of_datum(mean(latent.q), latent.q) for latent in trace.latents], 1)


def _per_unit(latent: Latent) -> Tensor:
    """Mean, its square, variance and KL of every unit, (4, B, units)."""
    middle = _of_datum(mean(latent.q).double(), latent.q)
    variance = kl = torch.full_like(middle, torch.nan)
    with suppress(NotImplementedError):
        variance = _of_datum(latent.q.variance.double(), latent.q)
    if latent.kl_per_unit is not None:
        kl = latent.kl_per_unit.double().mean(0).flatten(1)
    return torch.stack([middle, middle.square(), variance, kl]).detach()


def _of_datum(value: Tensor, q: Distribution) -> Tensor:
    """(*batch, *Z) of a distribution of batch shape (B,) or (S, B) -> (B, units)."""
    return (value.mean(0) if len(q.batch_shape) == 2 else value).flatten(1)

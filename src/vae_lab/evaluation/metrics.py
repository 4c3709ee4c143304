"""Averages over items, right for uneven batches and several processes."""

import math
from contextlib import suppress

import torch
from torch import Tensor
from torch.distributions import Independent, kl_divergence
from torchmetrics import Metric

from vae_lab.objectives import elbo
from vae_lab.support import Support
from vae_lab.trace import Latent, Trace

ACTIVE_THRESHOLD = 0.01


def bits_per_dim(nats: float, dims: int, support: Support, dequantized: bool) -> float | None:
    """Bits per dimension of a negative log-likelihood of `nats` over `dims` values.

    Discrete likelihoods: nats / (dims ln 2). Densities of dequantised 8-bit data, x = (k + u)/256:
    that plus 8 bits, an upper bound on the discrete figure. None where it is not defined.
    """
    bits = nats / (dims * math.log(2))
    if support.is_discrete:
        return bits
    return bits + 8 if support is Support.CONTINUOUS and dequantized else None


class BoundMetrics(Metric):
    """Means per datum, in nats: ELBO at beta = 1, rate, distortion, the objective's own value."""

    full_state_update = False
    total: Tensor
    count: Tensor
    NAMES = ("elbo", "rate", "distortion", "objective")

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(len(self.NAMES)), dist_reduce_fx="sum", persistent=True)
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum", persistent=True)

    def update(self, trace: Trace, objective: Tensor) -> None:
        """Add a batch: its trace, and its objective per datum, (B,)."""
        rate = trace.kl.sum(0).mean(0)
        distortion = -trace.log_px.mean(0)
        self.total += torch.stack([elbo(trace), rate, distortion, objective]).detach().sum(1)
        self.count += len(objective)

    def compute(self) -> dict[str, Tensor]:
        """Each name's mean over all items so far."""
        return dict(zip(self.NAMES, self.total / self.count, strict=True))


class ActiveUnits(Metric):
    """How many latent units are used: those with Var_x(E[z|x]) > 0.01.

    Burda, Grosse and Salakhutdinov 2016. Counts over every latent layer.
    """

    full_state_update = False
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, units: int) -> None:
        """`units` is the number of latent units, over all layers."""
        super().__init__()
        for name in ("total", "squares"):
            zeros = torch.zeros(units, dtype=torch.float64)
            self.add_state(name, zeros, dist_reduce_fx="sum", persistent=True)
        zero = torch.tensor(0.0, dtype=torch.float64)
        self.add_state("count", zero, dist_reduce_fx="sum", persistent=True)

    def update(self, trace: Trace) -> None:
        """Add a batch's posterior means."""
        means = torch.cat([latent.q.mean.flatten(1) for latent in trace.latents], 1)
        means = means.detach().to(self.total.dtype)
        self.total += means.sum(0)
        self.squares += means.square().sum(0)
        self.count += len(means)

    def compute(self) -> Tensor:
        """The number of active units, a scalar."""
        mean = self.total / self.count
        variance = self.squares / self.count - mean.square()
        return (variance > ACTIVE_THRESHOLD).sum().float()


class LatentUnits(Metric):
    """What each latent unit does, averaged over the data; units of all layers, one after another.

    `compute` returns, each of shape (units,): the posterior's `variance` E_x Var[z|x], the
    `variance_of_means` Var_x E[z|x], which together are the aggregate posterior's, and the `kl` in
    nats, NaN where the KL is no sum over units.
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
        mean, square, variance, kl = self.total / self.count
        return {"variance": variance, "variance_of_means": square - mean.square(), "kl": kl}


def _per_unit(latent: Latent) -> Tensor:
    """E[z|x], its square, Var[z|x] and the KL of every unit, (4, B, units)."""
    q, p = latent.q, latent.p
    mean = q.mean.detach().double()
    kl = torch.full_like(mean, torch.nan)
    if isinstance(q, Independent) and isinstance(p, Independent) and not q.base_dist.event_shape:
        with suppress(NotImplementedError):
            kl = kl_divergence(q.base_dist, p.base_dist).detach().double().expand_as(mean)
    return torch.stack([mean, mean.square(), q.variance.detach().double(), kl]).flatten(2)

"""Estimates over a test set, each with its standard error."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_lab.evaluation.metrics import ACTIVE_THRESHOLD
from vae_lab.seeding import seeded_generator

FAR = 20.0
"""Interquartile ranges above the median, beyond which an item is told of."""


@dataclass(frozen=True)
class Estimate:
    """What is reported of a test set."""

    value: float
    standard_error: float | None  # None where none is known, as of a single item
    unit: str


def mean_estimate(values: Tensor, unit: str) -> Estimate:
    """The mean of one value per datum, (N,), with its standard error.

    Values that are all the same, such as a single one, do not tell how far others would lie.

    >>> mean_estimate(torch.tensor([1.0, 3.0]), "nats")
    Estimate(value=2.0, standard_error=1.0, unit='nats')
    >>> mean_estimate(torch.tensor([1.0, 1.0]), "share")
    Estimate(value=1.0, standard_error=None, unit='share')
    """
    differ = bool((values != values[0]).any())
    error = float(values.std() / math.sqrt(len(values))) if differ else None
    return Estimate(float(values.mean()), error, unit)


def far_out(nats: Tensor) -> str:
    """A sentence on the items that make up a mean of nats by themselves, (N,); empty without such.

    They lie more than `FAR` interquartile ranges above the median, as where a network extrapolates:
    one of 10,000 at 42,000 nats moves the mean by 4, and lies elsewhere with another seed.

    >>> far_out(torch.tensor([90.0, 91.0, 92.0, 93.0, 42_000.0]))[:49]
    '1 of 5 items lies far out, at 42,000 nats or more'
    """
    low, median, high = nats.quantile(nats.new_tensor([0.25, 0.5, 0.75]))
    far = nats > median + FAR * (high - low)
    if not far.any():
        return ""
    lie, make = ("lies", "makes") if far.sum() == 1 else ("lie", "make")
    least, others = float(nats[far].min()), float(nats[~far].mean())
    return (
        f"{int(far.sum())} of {len(nats)} items {lie} far out, at {least:,.0f} nats or more, and "
        f"{make} much of negative_elbo: without, it is {others:.2f}."
    )


def active_units(means: Tensor, seed: int, resamples: int = 200) -> Estimate:
    """Units with Var_x(E[z|x]) > 0.01, from all posterior means, (N, units).

    The standard error is a bootstrap's over the data; of a single item there is none.
    """
    n = len(means)
    drawn = torch.randint(n, (resamples, n), generator=seeded_generator(seed, "bootstrap"))
    weights = torch.zeros(resamples, n, dtype=means.dtype)
    weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=means.dtype)).div_(n)
    centred = means - means.mean(0)
    variance = weights @ centred.square() - (weights @ centred).square()
    counts = (variance > ACTIVE_THRESHOLD).sum(1).double()
    value = (centred.square().mean(0) > ACTIVE_THRESHOLD).sum()
    error = float(counts.std()) if n > 1 else None
    return Estimate(float(value), error, f"of {means.shape[1]}")

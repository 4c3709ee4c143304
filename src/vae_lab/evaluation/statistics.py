"""Estimates over a test set, each with its standard error."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_lab.evaluation.metrics import ACTIVE_THRESHOLD
from vae_lab.seeding import seeded_generator


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

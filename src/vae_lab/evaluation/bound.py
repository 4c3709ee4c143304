"""How the importance-weighted bound tightens with its draws, on one trained model."""

import math
from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vae_lab.evaluation.statistics import Estimate


def draw_counts(num_draws: int) -> list[int]:
    """The numbers of draws K at which the bound is looked at.

    >>> draw_counts(40)
    [1, 2, 5, 10, 20, 40]
    """
    steps = (digit * 10**power for power in range(len(str(num_draws))) for digit in (1, 2, 5))
    return [k for k in steps if k < num_draws] + [num_draws]


class GroupedBound:
    """The bound of `k` draws, averaged over disjoint groups of as many; only sums are kept.

    Every group is an estimate of its own, so that few draws are told from all that there are.
    """

    def __init__(self, k: int) -> None:
        self.k, self.seen = k, 0
        self.total = torch.tensor(0.0, dtype=torch.float64)  # of the groups that are whole, nats
        self.open = torch.tensor(-torch.inf, dtype=torch.float64)  # log of the next one's sum

    def add(self, log_w: Tensor) -> None:
        """Add the next draws' log importance weights, (S, B) in nats."""
        lacking = min(-self.seen % self.k, len(log_w))  # of the group begun before
        whole = (len(log_w) - lacking) // self.k
        head, groups, tail = log_w.tensor_split([lacking, lacking + whole * self.k])
        self.open = torch.logaddexp(self.open, head.logsumexp(0))
        self.seen += len(log_w)
        if lacking and (self.seen - len(groups) - len(tail)) % self.k == 0:
            self.total = self.total + self.open
            self.open = torch.full_like(self.open, -torch.inf)
        self.total = self.total + groups.unflatten(0, (whole, self.k)).logsumexp(1).sum(0)
        self.open = torch.logaddexp(self.open, tail.logsumexp(0))

    @property
    def mean(self) -> Tensor:
        """Of each datum, (B,) in nats; draws too few to fill a last group are left out."""
        return self.total / (self.seen // self.k) - math.log(self.k)


def bound(estimates: Mapping[int, Estimate]) -> Figure:
    """The bound on log p(x) over its number of draws K, each with its standard error.

    The errors are those over items. The items are the same for each K, so that the differences
    between two K are much surer than either.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    values = [estimate.value for estimate in estimates.values()]
    errors = [estimate.standard_error or 0.0 for estimate in estimates.values()]
    axes.errorbar(list(estimates), values, yerr=errors, fmt=".-", capsize=3)
    axes.set_xscale("log")
    axes.set_xticks(list(estimates), [str(k) for k in estimates])
    axes.minorticks_off()
    axes.set(xlabel="draws K", ylabel="nats", title="importance-weighted bound, +- s.e. over items")
    axes.grid(alpha=0.3)
    return figure

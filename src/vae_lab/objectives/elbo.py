"""The evidence lower bound.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014 (https://arxiv.org/abs/1312.6114);
with beta: Higgins et al., beta-VAE, 2017.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from vae_lab.model.context import Context
from vae_lab.objectives.base import Objective
from vae_lab.objectives.schedules import Schedule
from vae_lab.trace import Trace


def elbo(trace: Trace, beta: float | Tensor = 1.0) -> Tensor:
    """E_q[log p(x|z)] - beta KL(q(z|x) || p(z)), in nats, (B,); a bound on log p(x) at beta = 1."""
    return (trace.log_px - beta * trace.kl.sum(0)).mean(0)


def monitor_of(beta: Schedule) -> str:
    """What tells how far log p(x|z) - beta KL has come: the ELBO, where beta rests at 1."""
    rests_at = float(beta(torch.tensor(torch.inf)))
    return "elbo" if math.isclose(rests_at, 1, rel_tol=1e-6) else "objective"


class WeightedKL(Objective):
    """log p(x|z) minus a KL, or what stands for it, weighted by a schedule of beta."""

    def __init__(self, context: Context, beta: Schedule) -> None:
        """`beta` is the weight of the KL over time."""
        super().__init__(context)
        self.beta = beta

    @property
    def warmup_epochs(self) -> float:
        return self.beta.warmup_epochs

    def describe(self) -> str:
        return self.beta.describe()

    @abstractmethod
    def penalty(self, trace: Trace) -> Tensor:
        """What beta weighs, (S, B), in nats."""

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        return trace.log_px - self.beta(epoch) * self.penalty(trace)


class ELBO(WeightedKL):
    """The ELBO, its KL weighted by a schedule of beta."""

    @property
    def monitor(self) -> str:
        return monitor_of(self.beta)

    def penalty(self, trace: Trace) -> Tensor:
        return trace.kl.sum(0)

"""The importance-weighted bound.

Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2016
(https://arxiv.org/abs/1509.00519).
"""

import math

from torch import Tensor

from vae_lab.errors import InputError
from vae_lab.objectives.base import Objective
from vae_lab.trace import Trace


def log_mean_exp(log_w: Tensor) -> Tensor:
    """Log 1/S sum_s w_s over the S draws of (S, B), in nats, (B,).

    >>> log_mean_exp(torch.tensor([[0.0], [math.log(3)]])) - math.log(2)
    tensor([0.])
    """
    return log_w.logsumexp(0) - math.log(len(log_w))


def iwae(trace: Trace) -> Tensor:
    """Log 1/S sum_s w_s <= log p(x), in nats, (B,); the ELBO at S = 1, tight as S grows."""
    return log_mean_exp(trace.log_w)


class IWAE(Objective):
    """The importance-weighted bound over the estimator's S draws."""

    def describe(self) -> str:
        return "importance-weighted bound"

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        """The log importance weights. Raises InputError at one draw, where they give the ELBO."""
        if len(trace.log_w) < 2:
            raise InputError(
                "objective=iwae with one draw is the ELBO: set estimator.num_draws to 2 or more."
            )
        return trace.log_w

    def reduce(self, values: Tensor) -> Tensor:
        return log_mean_exp(values)

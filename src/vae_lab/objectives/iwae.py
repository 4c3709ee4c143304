"""The importance-weighted bound.

Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2016
(https://arxiv.org/abs/1509.00519).
"""

import math

from torch import Tensor

from vae_lab.errors import InputError
from vae_lab.objectives.base import Objective
from vae_lab.trace import Trace


def iwae(trace: Trace) -> Tensor:
    """Log 1/S sum_s w_s <= log p(x), in nats, (B,); the ELBO at S = 1, tight as S grows."""
    log_w = trace.log_w
    return log_w.logsumexp(0) - math.log(len(log_w))


class IWAE(Objective):
    """The importance-weighted bound over the estimator's S draws."""

    def describe(self) -> str:
        return "importance-weighted bound"

    def forward(self, trace: Trace, epoch: Tensor) -> Tensor:
        """See `iwae`. Raises InputError at one draw, where the bound is only the ELBO."""
        if len(trace.log_w) < 2:
            raise InputError(
                "objective=iwae with one draw is the ELBO: set estimator.num_draws to 2 or more."
            )
        return iwae(trace)

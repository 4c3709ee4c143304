"""The score function: a gradient that needs no derivative of a draw.

Williams, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning
(REINFORCE), 1992. With the other draws as baseline: Kool, van Hoof and Welling, 2019; under the
importance-weighted bound, Mnih and Rezende, Variational Inference for Monte Carlo Objectives
(VIMCO), 2016 (https://arxiv.org/abs/1602.06725).
"""

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.arguments import Count
from vae_lab.errors import InputError
from vae_lab.estimators.base import Estimator
from vae_lab.estimators.checks import check_fixed_support
from vae_lab.estimators.sampled import sampled
from vae_lab.objectives import Objective
from vae_lab.trace import Latent, Trace, full_precision


class ScoreFunction(Estimator):
    """Raise log q(z_s|x) of a draw by what it added to the objective: discrete z learn so.

    What it added is the objective less a baseline: the objective with this draw's value replaced by
    the mean of the others'. A single draw has none beside it: its baseline is the average of values
    of earlier steps.
    """

    total: Tensor
    weight: Tensor

    def __init__(self, num_draws: Count = 4, decay: Annotated[float, Ge(0), Lt(1)] = 0.99) -> None:
        """`decay` is what the moving average keeps at each step; of use with one draw alone."""
        super().__init__(num_draws)
        self.decay = decay
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))  # 1 - decay^steps, as total began at 0

    def draw(self, q: Distribution, p: Distribution) -> Latent:
        """Raises InputError for a q whose support moves."""
        check_fixed_support(q, "score_function")
        return sampled(self.num_draws)(q, p)

    @full_precision
    def surrogate(self, objective: Objective, values: Tensor, trace: Trace) -> Tensor:
        """Raises InputError for an objective under which a datum's draw changes others' values."""
        if objective.reads_batch:
            raise InputError(
                "estimator=score_function needs an objective whose value of one datum depends on "
                "no other: say estimator=pathwise."
            )
        fixed, together = values.detach(), objective.reduce(values)
        scores = [latent.q.log_prob(latent.z) for latent in trace.latents]
        log_q = torch.stack(scores).sum(0)  # (S, B)
        gain = together.detach() - self._baseline(objective, fixed)
        return together + (gain * log_q).sum(0)

    def _baseline(self, objective: Objective, values: Tensor) -> Tensor:
        """What the objective would be without each draw, (S, B), or one value for all, ()."""
        draws = len(values)
        if draws == 1:
            return self.total / self.weight.clamp(min=1e-6)
        others = (values.sum(0) - values) / (draws - 1)
        own = torch.eye(draws, dtype=torch.bool, device=values.device).unsqueeze(2)
        without = torch.where(own, others, values.unsqueeze(1))  # [r, s]: draw r, s left out
        return objective.reduce(without.flatten(1)).unflatten(0, values.shape)

    def observe(self, values: Tensor) -> None:
        """A mean that is not finite moves nothing: it would stay in the baseline for ever."""
        mean = values.mean().to(self.total)
        finite = mean.isfinite()  # without a read from the device
        self.total.lerp_(torch.where(finite, mean, self.total), 1 - self.decay)
        self.weight.lerp_(torch.where(finite, 1, self.weight), 1 - self.decay)

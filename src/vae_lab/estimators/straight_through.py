"""Straight-through: a draw without a gradient passes that of its mean.

Bengio, Leonard and Courville, Estimating or Propagating Gradients Through Stochastic Neurons for
Conditional Computation, 2013 (https://arxiv.org/abs/1308.3432).
"""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.estimators.base import Estimator
from vae_lab.estimators.sampled import sampled
from vae_lab.objectives import Objective
from vae_lab.trace import Latent, Trace, full_precision


class StraightThrough(Estimator):
    """One-hot draws whose gradient is that of their probabilities: biased, and of little noise.

    The draws are true ones, where a relaxed density would be infinite at a low temperature.
    """

    @full_precision
    def draw(self, q: Distribution, p: Distribution) -> Latent:
        """Raises InputError for a q whose draws have a gradient of their own."""
        if q.has_rsample:
            raise InputError(
                "estimator=straight_through is for draws without a gradient, and this posterior's "
                "have one: say estimator=pathwise."
            )
        z = sampled(self.num_draws)(q, p).z  # (S, B, *Z)
        return Latent(z + (q.mean - q.mean.detach()), q, p)

    def surrogate(self, objective: Objective, values: Tensor, trace: Trace) -> Tensor:
        return objective.reduce(values)

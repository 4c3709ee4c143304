"""What every estimator promises: how z is drawn, and what gradient follows."""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.arguments import Count
from vae_lab.objectives import Objective
from vae_lab.trace import Latent, Trace


class Estimator(nn.Module, ABC):
    """A way to estimate the gradient of an objective that is an expectation over q(z|x)."""

    def __init__(self, num_draws: Count = 1) -> None:
        """`num_draws` is S, the draws of z per datum."""
        super().__init__()
        self.num_draws = num_draws

    @abstractmethod
    def draw(self, q: Distribution, p: Distribution) -> Latent:
        """Draw z ~ q. Adds the S axis only where q has batch shape (B,)."""

    @abstractmethod
    def surrogate(self, objective: Objective, values: Tensor, trace: Trace) -> Tensor:
        """A value per datum, (B,), in nats, whose gradient is the estimate; it is never logged.

        `values` are what each draw is worth to the objective, (S, B), computed from `trace`.
        """

    def observe(self, values: Tensor) -> None:
        """See what each draw of one training step was worth, (S, B), in nats, after that step.

        For a state of its own, such as a baseline that moves, which a buffer keeps. A step that is
        skipped is seen too, so that not all values need be finite.
        """
        return

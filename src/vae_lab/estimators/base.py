"""What every estimator promises: how z is drawn, and what gradient follows."""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.objectives import Objective
from vae_lab.trace import Latent, Trace


class Estimator(nn.Module, ABC):
    """A way to estimate the gradient of an objective that is an expectation over q(z|x)."""

    @abstractmethod
    def draw(self, q: Distribution, p: Distribution) -> Latent:
        """Draw z ~ q. Adds the S axis only where q has batch shape (B,)."""

    @abstractmethod
    def surrogate(self, objective: Objective, trace: Trace, epoch: Tensor) -> Tensor:
        """A value per datum, (B,), in nats, whose gradient is the estimate."""

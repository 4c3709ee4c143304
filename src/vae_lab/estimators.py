"""How z is drawn, and what gradient follows."""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.errors import whole
from vae_lab.objectives import Objective
from vae_lab.trace import Draw, Latent, Trace, full_precision


class Estimator(nn.Module, ABC):
    """A way to estimate the gradient of an objective that is an expectation over q(z|x)."""

    @abstractmethod
    def draw(self, q: Distribution, p: Distribution) -> Latent:
        """Draw z ~ q. Adds the S axis only where q has batch shape (B,)."""

    @abstractmethod
    def surrogate(self, objective: Objective, trace: Trace, epoch: Tensor) -> Tensor:
        """A value per datum, (B,), in nats, whose gradient is the estimate."""


class Pathwise(Estimator):
    """The reparameterised gradient: z is a differentiable function of q and noise.

    Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014.
    """

    def __init__(self, num_draws: int = 1) -> None:
        """`num_draws` is S. Raises InputError below 1."""
        super().__init__()
        self.num_draws = whole("estimator.num_draws", num_draws, 1)

    @full_precision
    def draw(self, q: Distribution, p: Distribution) -> Latent:
        z = q.rsample((self.num_draws,)) if len(q.batch_shape) == 1 else q.rsample()
        return Latent(z, q, p)

    def surrogate(self, objective: Objective, trace: Trace, epoch: Tensor) -> Tensor:
        return objective(trace, epoch)


def sampled(num_draws: int) -> Draw:
    """Draws without a gradient, for evaluation: S = `num_draws`."""

    @full_precision
    def draw(q: Distribution, p: Distribution) -> Latent:
        return Latent(q.sample((num_draws,) if len(q.batch_shape) == 1 else ()), q, p)

    return draw

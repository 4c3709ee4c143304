"""The reparameterised gradient.

Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014.
"""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.estimators.base import Estimator
from vae_lab.objectives import Objective
from vae_lab.trace import Latent, Trace, full_precision


class Pathwise(Estimator):
    """The reparameterised gradient: z is a differentiable function of q and noise."""

    @full_precision
    def draw(self, q: Distribution, p: Distribution) -> Latent:
        z = q.rsample((self.num_draws,)) if len(q.batch_shape) == 1 else q.rsample()
        return Latent(z, q, p)

    def surrogate(self, objective: Objective, values: Tensor, trace: Trace) -> Tensor:
        return objective.reduce(values)

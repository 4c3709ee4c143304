"""The reparameterised gradient.

Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014.
"""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.estimators.base import Estimator
from vae_lab.estimators.checks import path_draws
from vae_lab.objectives import Objective
from vae_lab.trace import Latent, Trace, full_precision


class Pathwise(Estimator):
    """The reparameterised gradient: z is a differentiable function of q and noise."""

    @full_precision
    def draw(self, q: Distribution, p: Distribution) -> Latent:
        """Raises InputError for a q whose draws have no gradient."""
        return Latent(path_draws(q, self.num_draws), q, p)

    def surrogate(self, objective: Objective, values: Tensor, trace: Trace) -> Tensor:
        return objective.reduce(values)

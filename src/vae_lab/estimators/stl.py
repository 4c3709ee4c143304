"""Sticking the landing: the reparameterised gradient without its score term.

Roeder, Wu and Duvenaud, Sticking the Landing: Simple, Lower-Variance Gradient Estimators for
Variational Inference, 2017 (https://arxiv.org/abs/1703.09194).
"""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.estimators.base import Estimator
from vae_lab.estimators.checks import check_fixed_support, path_draws
from vae_lab.model.distributions.path_only import PathOnly
from vae_lab.objectives import ELBO, Objective
from vae_lab.trace import Latent, Trace, full_precision


class StickingTheLanding(Estimator):
    """Log q(z|x) passes gradient through z alone, so that at q(z|x) = p(z|x) nothing varies.

    What is left out, the score of q, has mean zero under the ELBO. The KL is a draw's log ratio
    even where a closed form is known: the terms must come from the same draw to cancel.
    """

    @full_precision
    def draw(self, q: Distribution, p: Distribution) -> Latent:
        """Raises InputError for a q whose draws have no gradient, or whose support moves."""
        check_fixed_support(q, "stl")
        return Latent(path_draws(q, self.num_draws), PathOnly(q), p)

    def surrogate(self, objective: Objective, values: Tensor, trace: Trace) -> Tensor:
        """Raises InputError for another objective than the ELBO: elsewhere it may be biased."""
        if not isinstance(objective, ELBO):
            raise InputError(
                "estimator=stl is known to be unbiased under objective=elbo alone: say "
                "estimator=dreg for objective=iwae, else estimator=pathwise."
            )
        return objective.reduce(values)

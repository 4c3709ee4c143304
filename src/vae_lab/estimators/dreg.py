"""The doubly reparameterised gradient of the importance-weighted bound.

Tucker, Lawson, Gu and Maddison, Doubly Reparameterized Gradient Estimators for Monte Carlo
Objectives, 2019 (https://arxiv.org/abs/1810.04152).
"""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.estimators.base import Estimator
from vae_lab.estimators.checks import check_fixed_support, path_draws
from vae_lab.model.distributions.path_only import PathOnly
from vae_lab.objectives import IWAE, Objective
from vae_lab.trace import Latent, Trace, full_precision


class DoublyReparameterised(Estimator):
    """The encoder's gradient is sum_s w_s^2 d log w_s/dz_s dz_s/dphi, w the normalised weights.

    Where no draw outweighs the others, its signal-to-noise grows with S, as that of the pathwise
    gradient falls. The decoder and the prior get their usual gradient, of weight w. Each draw is
    taken twice, with and without a path to q, so the trace has 2S draws, whose bound is that of
    the S.
    """

    def __init__(self, num_draws: Annotated[int, Ge(2)] = 2) -> None:
        super().__init__(num_draws)

    @full_precision
    def draw(self, q: Distribution, p: Distribution) -> Latent:
        """Raises InputError for a q that depends on another draw, has no path, or moves."""
        if len(q.batch_shape) > 1:
            raise InputError(
                "estimator=dreg serves one latent layer, and this model has more: say "
                "estimator=pathwise."
            )
        check_fixed_support(q, "dreg")
        z = path_draws(q, self.num_draws)
        return Latent(torch.cat([z, z.detach()]), PathOnly(q), p)

    def surrogate(self, objective: Objective, values: Tensor, trace: Trace) -> Tensor:
        """Raises InputError for another objective than IWAE."""
        if not isinstance(objective, IWAE):
            raise InputError(
                "estimator=dreg is the gradient of objective=iwae: say that, or estimator=stl."
            )
        with_path, without = values.chunk(2)  # (S, B)
        w = without.detach().softmax(0)
        return (w.square() * with_path + (w - w.square()) * without).sum(0)

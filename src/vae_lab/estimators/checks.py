"""What estimators ask of a posterior: each refusal is one line that names another estimator."""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.estimators.sampled import new_draws
from vae_lab.trace import has_fixed_support


def path_draws(q: Distribution, num_draws: int) -> Tensor:
    """Draws of q as differentiable functions of its parameters and noise, (S, B, *Z).

    Raises InputError where q knows of none.
    """
    if not q.has_rsample:
        raise InputError(
            "this posterior's draws are no differentiable function of its parameters: say "
            "estimator=score_function."
        )
    return q.rsample(new_draws(q, num_draws))


def check_fixed_support(q: Distribution, estimator: str) -> None:
    """Raise InputError where the score of q has another mean than zero."""
    if not has_fixed_support(q):
        raise InputError(
            f"estimator={estimator} is biased where a posterior's support depends on its "
            "parameters: say estimator=pathwise, or choose another model/posterior."
        )

"""What priors over codes take from the posterior that has them."""

from collections.abc import Callable
from functools import partial

from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.model.distributions.of_codes import OfCodes
from vae_lab.model.family import CodeFamily


def over_codes(context: Context) -> tuple[Callable[[Distribution], OfCodes], tuple[int, int]]:
    """From a distribution over indices, (M,), to one over z; and M and K.

    The posterior, whose codes they are, is no part of a prior that keeps this. Raises InputError
    where z is no codes.
    """
    family = context.posterior
    if not isinstance(family, CodeFamily):
        raise InputError(
            "this prior is over codes, and z is none: say model/prior=standard_normal, or, for "
            "example, model/posterior=vector_quantised model.z_shape=[4,16]."
        )
    return partial(OfCodes, family), (family.num_positions, family.num_codes)

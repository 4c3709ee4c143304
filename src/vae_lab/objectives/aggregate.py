"""What objectives on the aggregate posterior, q(z) = E_p(x) q(z|x), ask of a trace."""

from vae_lab.errors import InputError
from vae_lab.trace import Latent, Trace, factorises


def one_latent(trace: Trace, objective: str) -> Latent:
    """The trace's latent layer. Raises InputError, naming `objective`, where there are several."""
    if len(trace.latents) > 1:
        raise InputError(
            f"objective={objective} looks at one latent layer, and this model has "
            f"{len(trace.latents)}: choose another objective."
        )
    return trace.latents[0]


def check_prior(latent: Latent, objective: str) -> None:
    """Raise InputError unless p is a product over units, and the same for all data."""
    if latent.p.batch_shape or not factorises(latent.p):
        raise InputError(
            f"objective={objective} compares the units of all data with one prior, a product over "
            "them: say model/prior=standard_normal."
        )


def check_posterior(latent: Latent, objective: str) -> None:
    """Raise InputError unless q is a product over units."""
    if not factorises(latent.q):
        raise InputError(
            f"objective={objective} needs a posterior that is a product over units: say "
            "model/posterior=diagonal_gaussian."
        )

"""The bound under a prior that was fitted to the codes afterwards."""

import math
from collections.abc import Iterable
from dataclasses import replace

import torch

from vae_lab.estimators import sampled
from vae_lab.evaluation.metrics import bits_per_dim
from vae_lab.evaluation.statistics import Estimate, mean_estimate
from vae_lab.model import LatentVariableModel
from vae_lab.model.priors.standardized import Standardized
from vae_lab.objectives import elbo
from vae_lab.seeding import reseed
from vae_lab.trace import Batch

NOTE = (
    "elbo_fitted_prior: the model with prior.ckpt in the place of its own prior has this ELBO, a "
    "bound as the other, of one draw of z an item."
)


@torch.no_grad()
def bound_under(
    prior: Standardized,
    model: LatentVariableModel,
    batches: Iterable[Batch],
    dequantized: bool,
    seed: int,
) -> dict[str, Estimate]:
    """-ELBO, rate and bits per dimension as the model would have them under that prior.

    Nothing where there is no ELBO, and where the prior alone reads labels, so that log p(x|y) is
    what would be bounded.

    Args:
        prior: Fitted to other data than these.
        model: Of one latent layer.
        batches: Of the data.
        dequantized: Whether x is (k + u)/256, so that bits per dimension are known.
        seed: Of the draw of z that each datum has.
    """
    if prior.reads_labels and not model.reads_labels:
        return {}
    found = []
    for number, batch in enumerate(batches):
        reseed(batch.x.device, seed, "fitted prior", number)
        trace = model(batch, sampled(1))
        (latent,) = trace.latents
        under = replace(trace, latents=(replace(latent, p=prior(batch.y)),))
        if not under.has_elbo:
            return {}
        found.append(torch.stack([-elbo(under), under.kl.sum(0).mean(0)]).double().cpu())
    bound, rate = (mean_estimate(nats, "nats") for nats in torch.cat(found, 1))
    estimates = {"negative_elbo": bound, "rate": rate}
    dims = math.prod(model.x_shape)
    bits = bits_per_dim(bound.value, dims, model.likelihood.support, dequantized)
    if bits is not None:
        error = bound.standard_error and bound.standard_error / (dims * math.log(2))
        estimates["bits_per_dim_elbo"] = Estimate(bits, error, "bits")
    return {f"{name}_fitted_prior": estimate for name, estimate in estimates.items()}

"""Free bits: nats of the KL that cost nothing, so that a posterior may leave the prior.

Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016
(https://arxiv.org/abs/1606.04934), section C.8.
"""

import torch
from torch import Tensor

from vae_lab.arguments import NonNegative
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.objectives.elbo import WeightedKL
from vae_lab.objectives.schedules import Schedule
from vae_lab.trace import Trace


def at_least(nats: float, kl: Tensor) -> Tensor:
    """`kl` (S, B, ...), with `nats` in place of all of it whose mean over S and B is smaller.

    The mean of what it gives is max(nats, mean of kl), each datum keeping its own share; where that
    is `nats`, no gradient pulls the posterior towards the prior.

    >>> at_least(1.0, torch.tensor([[[0.0, 0.0], [0.5, 3.0]]])).mean((0, 1))
    tensor([1.0000, 1.5000])
    """
    return torch.where(kl.mean((0, 1)) >= nats, kl, nats)


class _FreeNats(WeightedKL):
    """`nats` of the KL are free: pressed no further down, and no cheaper than that."""

    reads_batch = True
    of: str

    def __init__(self, context: Context, beta: Schedule, nats: NonNegative) -> None:
        """`nats` are free; with none, this is the ELBO."""
        super().__init__(context, beta)
        self.nats = nats

    def describe(self) -> str:
        free = f"{self.nats:g} free nats {self.of}" * (self.nats > 0)
        return ", ".join(filter(None, [free, super().describe()]))


class FreeBits(_FreeNats):
    """sum over units j of max(nats, KL_j) in place of the KL, KL_j being the batch's mean."""

    of = "a unit"

    def penalty(self, trace: Trace) -> Tensor:
        """Raises InputError where the KL is no sum over units in closed form."""
        layers = [latent.kl_per_unit for latent in trace.latents]
        kls = [at_least(self.nats, kl).flatten(2).sum(2) for kl in layers if kl is not None]
        if len(kls) < len(layers):
            raise InputError(
                "objective=free_bits needs the KL of each unit, and here it is no sum over units "
                "in closed form: choose objective=free_bits_total."
            )
        return torch.stack(kls).sum(0)


class FreeBitsTotal(_FreeNats):
    """max(nats, KL) in place of the KL, which is that of all units, and the batch's mean.

    Another objective than `FreeBits`: one unit may use up all that is free.
    """

    of = "in total"

    def penalty(self, trace: Trace) -> Tensor:
        return at_least(self.nats, trace.kl.sum(0))

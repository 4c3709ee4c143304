"""The ELBO and a commitment term: what trains a VQ-VAE's encoder.

van den Oord, Vinyals and Kavukcuoglu, Neural Discrete Representation Learning, 2017
(https://arxiv.org/abs/1711.00937).
"""

import torch
from torch import Tensor

from vae_lab.arguments import NonNegative
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.model.distributions.quantised import Quantised
from vae_lab.model.posteriors.quantised import QuantisedFamily
from vae_lab.objectives.base import Objective
from vae_lab.trace import Trace


class VQ(Objective):
    """ELBO - commitment |z_e - z|^2: the encoder's output z_e is drawn to the code z it became.

    The paper's third term, which draws codes to the output, is the running mean's that makes them.
    """

    def __init__(self, context: Context, commitment: NonNegative) -> None:
        """Raises InputError where z is not quantised.

        Args:
            context: What the model tells.
            commitment: The cost of a squared distance, summed over z, in nats.
        """
        super().__init__(context)
        if not isinstance(context.posterior, QuantisedFamily):
            raise InputError(
                "objective=vq commits an encoder to codes, and this z is not quantised: say "
                "model=vq_vae, or objective=elbo."
            )
        self.commitment = commitment

    def describe(self) -> str:
        return f"the ELBO less {self.commitment:g} of the commitment" * (self.commitment > 0)

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        distances = [each.q.distortion for each in trace.latents if isinstance(each.q, Quantised)]
        return trace.log_px - trace.kl.sum(0) - self.commitment * torch.stack(distances).sum(0)

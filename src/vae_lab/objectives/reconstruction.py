"""Reconstruction alone, which trains an autoencoder.

Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006.
"""

from torch import Tensor

from vae_lab.objectives.base import Objective
from vae_lab.trace import Trace


class Reconstruction(Objective):
    """E_q[log p(x|z)], in nats: no KL keeps the codes near the prior, and it bounds nothing."""

    def describe(self) -> str:
        return "reconstruction alone, no bound"

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        return trace.log_px

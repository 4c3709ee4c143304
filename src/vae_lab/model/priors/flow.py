"""A normalising flow as prior."""

from math import prod

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.arguments import Count, Widths
from vae_lab.model.context import Context
from vae_lab.model.distributions.flow import FlowDistribution, coupling
from vae_lab.model.priors.base import Prior


class FlowPrior(Prior):
    """p(z) = N(0, I) pushed through a coupling flow: Dinh et al., Real NVP, 2017.

    Chen et al., Variational Lossy Autoencoder, 2017, learn a prior so.
    """

    reads_labels = False

    def __init__(self, context: Context, transforms: Count, widths: Widths) -> None:
        """Make a flow for this model's z.

        Args:
            context: What the model tells.
            transforms: How many couplings, each of which has the two halves of z change roles.
            widths: Hidden layers of each coupling's network.
        """
        super().__init__(context)
        self.flow = coupling(prod(self.z_shape), 0, transforms, widths)

    def forward(self, y: Tensor | None) -> Distribution:
        return FlowDistribution(self.flow(), self.z_shape)

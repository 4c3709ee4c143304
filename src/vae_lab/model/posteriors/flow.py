"""A normalising flow as posterior.

Rezende and Mohamed, Variational Inference with Normalizing Flows, 2015
(https://arxiv.org/abs/1505.05770).
"""

from math import prod

from torch import Tensor
from torch.distributions import Distribution
from zuko.flows import MAF

from vae_lab.arguments import Count, Widths
from vae_lab.model.distributions.flow import FlowDistribution
from vae_lab.model.family import Family
from vae_lab.trace import Shape


class FlowPosterior(Family):
    """N(0, I) pushed through a coupling flow that reads what the encoder says of x.

    Its mean and its KL have no closed form: both are estimated from draws.

    >>> FlowPosterior((32,), features=64, transforms=2, widths=[64]).param_shape
    (64,)
    """

    def __init__(
        self, event_shape: Shape, features: Count, transforms: Count, widths: Widths
    ) -> None:
        """Make a flow for events of one shape.

        Args:
            event_shape: The shape of z.
            features: How many numbers the encoder gives the flow.
            transforms: How many couplings, each of which has the two halves of z change roles.
            widths: Hidden layers of each coupling's network.
        """
        super().__init__(event_shape)
        self.features = features
        # Two passes are a coupling: draws cost two evaluations, not one for every unit of z.
        self.flow = MAF(
            prod(event_shape), features, transforms=transforms, passes=2, hidden_features=widths
        )

    @property
    def param_shape(self) -> Shape:
        return (self.features,)

    def distribution(self, params: Tensor) -> Distribution:
        return FlowDistribution(self.flow(params), self.event_shape)

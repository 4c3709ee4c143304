"""A normalising flow as a distribution over events of any shape.

Papamakarios et al., Normalizing Flows for Probabilistic Modeling and Inference, 2021
(https://arxiv.org/abs/1912.02762). The flows themselves are zuko's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vae_lab.model.distributions import Size
from vae_lab.trace import Shape, full_precision

_VALIDATES = Distribution._validate_args  # importing zuko turns it off, for everybody's
from zuko.distributions import NormalizingFlow  # noqa: E402
from zuko.flows import MAF  # noqa: E402

Distribution.set_default_validate_args(_VALIDATES)

__all__ = ["FlowDistribution", "NormalizingFlow", "coupling"]


def coupling(units: int, context: int, transforms: int, widths: Sequence[int]) -> MAF:
    """An affine coupling flow: Dinh et al., Density Estimation Using Real NVP, 2017.

    Two passes make it one: draws cost two evaluations, not one for every unit.

    Args:
        units: Of the vectors it is over.
        context: How many numbers it reads beside; 0: none.
        transforms: How many couplings, each of which has the two halves change roles.
        widths: Hidden layers of each coupling's network.
    """
    return MAF(units, context, transforms=transforms, passes=2, hidden_features=widths)


class FlowDistribution(Distribution):
    """A flow over vectors, `flow`, that are events of `event_shape`, flattened.

    Its mean and its KL have no closed form.
    """

    arg_constraints = {}  # noqa: RUF012  (torch's own interface)
    has_rsample = True

    def __init__(self, flow: NormalizingFlow, event_shape: Shape) -> None:
        self.flow = flow
        super().__init__(flow.batch_shape, torch.Size(event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Size, _instance: object = None) -> "FlowDistribution":
        return FlowDistribution(self.flow.expand(torch.Size(batch_shape)), self.event_shape)

    @full_precision
    def log_prob(self, value: Tensor) -> Tensor:
        vectors = value.flatten(-len(self.event_shape))
        batch = torch.broadcast_shapes(vectors.shape[:-1], self.batch_shape)  # zuko does not
        log_prob: Tensor = self.flow.log_prob(vectors.expand(*batch, -1))
        return log_prob

    @full_precision
    def rsample(self, sample_shape: Size = ()) -> Tensor:
        vectors: Tensor = self.flow.rsample(torch.Size(sample_shape))
        return vectors.unflatten(-1, self.event_shape)

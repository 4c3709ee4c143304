"""A normalising flow as a distribution over events of any shape.

Papamakarios et al., Normalizing Flows for Probabilistic Modeling and Inference, 2021
(https://arxiv.org/abs/1912.02762). The flows themselves are zuko's.
"""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from zuko.distributions import NormalizingFlow

from vae_lab.model.distributions import Size
from vae_lab.trace import Shape, full_precision


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

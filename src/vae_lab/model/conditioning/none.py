"""No label."""

from torch import Tensor

from vae_lab.model.conditioning.base import Conditioning
from vae_lab.model.networks import NetworkPartial
from vae_lab.trace import Shape


class NoConditioning(Conditioning):
    """The label does not reach the network."""

    reads_labels = False

    def __init__(
        self, network: NetworkPartial, in_shape: Shape, out_shape: Shape, num_classes: int | None
    ) -> None:
        super().__init__(network, in_shape, out_shape, num_classes)
        self.network = network(in_shape, out_shape)

    def forward(self, value: Tensor, y: Tensor | None) -> Tensor:
        out: Tensor = self.network(value)
        return out

"""What every conditioning promises: a wrapper that decides how a class label reaches a network."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from vae_lab.model.networks import NetworkPartial
from vae_lab.trace import Shape

UNCONDITIONAL = "model/encoder_conditioning=none model/decoder_conditioning=none"
"""What to choose for data without labels."""


class Conditioning(nn.Module, ABC):
    """A network, and the label's way into it: (value, y) -> the network's output."""

    reads_labels: ClassVar[bool]

    @abstractmethod
    def __init__(
        self, network: NetworkPartial, in_shape: Shape, out_shape: Shape, num_classes: int | None
    ) -> None:
        """Build the network with room for the label.

        Args:
            network: The network, which lacks only its shapes.
            in_shape: Of what it maps, the label aside.
            out_shape: Of what it gives.
            num_classes: Of the labels; None without labels.
        """
        super().__init__()

    @abstractmethod
    def forward(self, value: Tensor, y: Tensor | None) -> Tensor:
        """(*batch, B, *in_shape) and (B,) -> (*batch, B, *out_shape)."""


ConditioningPartial = Callable[[NetworkPartial, Shape, Shape, int | None], Conditioning]
"""A conditioning that lacks only its network, shapes and number of classes."""

"""What every prior promises."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.model.context import Context


class Prior(nn.Module, ABC):
    """p(z), or p(z|y)."""

    reads_labels: ClassVar[bool]

    @abstractmethod
    def __init__(self, site: Context) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, y: Tensor | None) -> Distribution:
        """The prior over z, batch shape () or, for labels y (B,), (B,)."""

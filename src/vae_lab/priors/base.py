"""What every prior promises, and what it may know of where it stands."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Site:
    """Where a prior stands: all it may know of its model."""

    x_shape: Shape
    z_shape: Shape
    num_classes: int | None
    q_z: Callable[[Tensor, Tensor | None], Distribution]  # (x, y) -> q(z|x), the model's own


class Prior(nn.Module, ABC):
    """p(z), or p(z|y)."""

    reads_labels: ClassVar[bool]

    @abstractmethod
    def __init__(self, site: Site) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, y: Tensor | None) -> Distribution:
        """The prior over z, batch shape () or, for labels y (B,), (B,)."""

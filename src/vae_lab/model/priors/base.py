"""What every prior promises."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.trace import Batch


class Prior(nn.Module, ABC):
    """p(z), or p(z|y). Built late: the model tells it where it stands."""

    reads_labels: ClassVar[bool]

    def __init__(self, context: Context) -> None:
        """`context` is what the model tells. Raises InputError where z has several layers."""
        super().__init__()
        if context.z_shape is None:
            raise InputError(f"{type(self).__name__} is a prior over one latent layer.")
        self.z_shape = context.z_shape

    def initialise(self, take: Callable[[int], Batch]) -> None:
        """Start from data, where the prior does: `take(n)` gives n training data at random."""
        return

    @abstractmethod
    def forward(self, y: Tensor | None) -> Distribution:
        """The prior over z, batch shape () or, for labels y (B,), (B,)."""

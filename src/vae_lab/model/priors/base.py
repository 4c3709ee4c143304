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
    draws_in_steps: ClassVar[bool] = False
    """Whether a draw is made value by value, each from those before: no fixed program does that."""

    def __init__(self, context: Context) -> None:
        """`context` is what the model tells. Raises InputError where z has several layers."""
        super().__init__()
        if context.z_shape is None:
            raise InputError(f"{type(self).__name__} is a prior over one latent layer.")
        self.z_shape = context.z_shape

    def initialise(self, take: Callable[[int], Batch]) -> None:
        """Start from data, where the prior does: `take(n)` gives n training data at random."""
        return

    def start_from(self, z: Tensor, y: Tensor | None, seed: int) -> None:
        """Start where codes lie, where the prior can: `fit_prior` goes on from there.

        Args:
            z: Codes, (N, *Z), every unit with mean 0 and variance 1.
            y: Their labels, (N,), where the data have some.
            seed: Of what is random in it.

        Raises:
            InputError: Of a prior that reads labels, where there are none.
        """
        return

    @abstractmethod
    def forward(self, y: Tensor | None) -> Distribution:
        """The prior over z, batch shape () or, for labels y (B,), (B,)."""

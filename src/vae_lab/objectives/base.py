"""What every objective promises."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from vae_lab.model.context import Context
from vae_lab.trace import Trace


class Objective(nn.Module, ABC):
    """What training maximises: (trace, epoch) -> (B,), in nats. Built late, for its model.

    Time is counted in epochs, as a scalar tensor that grows within an epoch (2.5 is the middle of
    the third), so that a schedule means the same whatever the batch size. Validation asks at
    infinity, where schedules rest, so that its epochs compare.
    """

    reads_batch: ClassVar[bool] = False
    """Whether the value of one datum depends on the other data of its batch."""

    def __init__(self, context: Context) -> None:
        """`context` is the model's: what the objective may know of it."""
        super().__init__()

    @property
    def warmup_epochs(self) -> float:
        """Epochs before the objective is what it will stay; selection starts after them."""
        return 0.0

    def describe(self) -> str:
        """What differs from the plain ELBO, in a few words; empty where nothing does."""
        return ""

    @property
    def monitor(self) -> str:
        """The metric of the validation data, larger is better, that tells how far it has come.

        Its own value, "objective"; "elbo" where it is the ELBO once its schedule rests.
        """
        return "objective" if self.describe() else "elbo"

    @abstractmethod
    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        """What each draw is worth, (S, B), in nats."""

    def reduce(self, values: Tensor) -> Tensor:
        """What the draws are worth together, (S, B) -> (B,), in nats: their mean."""
        return values.mean(0)

    def forward(self, trace: Trace, epoch: Tensor) -> Tensor:
        """The objective of each datum, (B,), in nats."""
        return self.reduce(self.values(trace, epoch))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters of its own, such as a discriminator's, as groups for the optimiser."""
        own = list(self.parameters())
        return [{"params": own}] if own else []

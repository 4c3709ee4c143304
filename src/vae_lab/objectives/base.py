"""What every objective promises."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vae_lab.trace import Trace


class Objective(nn.Module, ABC):
    """What training maximises: (trace, epoch) -> (B,), in nats.

    Time is counted in epochs, as a scalar tensor that grows within an epoch (2.5 is the middle of
    the third), so that a schedule means the same whatever the batch size.
    """

    monitor: str = "elbo"
    """The figure that checkpoints, early stopping and sweeps select on; the true ELBO unless the
    model has no bound."""

    @property
    def warmup_epochs(self) -> float:
        """Epochs before the objective is what it will stay; selection starts after them."""
        return 0.0

    def describe(self) -> str:
        """What differs from the plain ELBO, in a few words; empty where nothing does."""
        return ""

    @abstractmethod
    def forward(self, trace: Trace, epoch: Tensor) -> Tensor:
        """The objective of each datum, (B,), in nats."""

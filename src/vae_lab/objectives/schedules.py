"""How the weight of the KL moves during training. Time is in epochs, as a scalar tensor."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vae_lab.arguments import NonNegative, Positive, Share


class Schedule(nn.Module, ABC):
    """beta as a function of time: scalar tensor of epochs -> scalar tensor, no unit."""

    warmup_epochs: float = 0.0

    @abstractmethod
    def describe(self) -> str:
        """What beta does, in a few words; empty for the plain ELBO."""

    @abstractmethod
    def forward(self, epoch: Tensor) -> Tensor:
        """Beta at this time; at infinity, the one that the schedule comes to."""


class Constant(Schedule):
    """beta = value, always.

    >>> Constant(4.0)(torch.tensor(10.0))
    tensor(4.)
    """

    def __init__(self, value: NonNegative = 1.0) -> None:
        """A `value` of 1 is the ELBO, more a beta-VAE."""
        super().__init__()
        self.value = float(value)

    def describe(self) -> str:
        no_bound = ", no bound" * (self.value < 1)
        return "" if self.value == 1 else f"beta {self.value:g}{no_bound}"

    def forward(self, epoch: Tensor) -> Tensor:
        return torch.full_like(epoch, self.value)


class LinearWarmup(Schedule):
    """From `start` to 1 over the first `epochs`, then 1.

    Bowman et al., Generating Sentences from a Continuous Space, 2016.

    >>> LinearWarmup(10)(torch.tensor(2.5))
    tensor(0.2500)
    """

    def __init__(self, epochs: Positive, start: NonNegative = 0.0) -> None:
        """`epochs` is the length of the warm-up, `start` is beta at its beginning."""
        super().__init__()
        self.warmup_epochs, self.start = float(epochs), float(start)

    def describe(self) -> str:
        return f"beta from {self.start:g} to 1 over {self.warmup_epochs:g} epochs"

    def forward(self, epoch: Tensor) -> Tensor:
        return self.start + (1 - self.start) * (epoch / self.warmup_epochs).clamp(max=1)


class Cyclical(Schedule):
    """Each period, from 0 to 1 over its first `ramp` share, then 1 for the rest of it.

    Fu et al., Cyclical Annealing Schedule, 2019. The first period counts as warm-up.

    >>> Cyclical(10)(torch.tensor(12.5))
    tensor(0.5000)
    """

    def __init__(self, period: Positive, ramp: Share = 0.5) -> None:
        """`period` is in epochs; `ramp` is the share of it in which beta grows."""
        super().__init__()
        self.warmup_epochs, self.ramp = float(period), float(ramp)

    def describe(self) -> str:
        return f"beta cycling from 0 to 1 every {self.warmup_epochs:g} epochs"

    def forward(self, epoch: Tensor) -> Tensor:
        phase = ((epoch / self.warmup_epochs) % 1).nan_to_num(1.0)  # at infinity, a cycle's end
        return (phase / self.ramp).clamp(max=1)

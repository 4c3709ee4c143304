"""The one standard deviation that a Gaussian likelihood has: fixed, learned, or in closed form.

Rybkin, Daniilidis and Levine, Simple and Effective VAE Training with Calibrated Decoders, 2021
(https://arxiv.org/abs/2006.13202). A sigma per pixel is known to hurt; sigma = 1 on [0, 1] data
drowns the likelihood in the KL.
"""

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torchmetrics import MeanMetric

_FLOOR = 1e-3  # about the standard deviation of 8-bit rounding: no density needs to be sharper
Initial = Annotated[float, Gt(_FLOOR)]


class Sigma(nn.Module, ABC):
    """The standard deviation shared by all values of x, in units of x (data lie in [0, 1])."""

    def __init__(self, init: Initial) -> None:
        """`init` is sigma at first."""
        super().__init__()
        self.init = float(init)

    @abstractmethod
    def forward(self) -> Tensor:
        """sigma, a positive scalar."""

    def observe(self, residual: Tensor) -> None:
        """See the residuals x - mean of a training batch, of any shape."""
        return

    def refit(self) -> None:
        """Refit sigma from the residuals seen since the last time."""
        return


class FixedSigma(Sigma):
    """sigma = init, always."""

    sigma: Tensor

    def __init__(self, init: Initial) -> None:
        super().__init__(init)
        self.register_buffer("sigma", torch.tensor(self.init))

    def forward(self) -> Tensor:
        return self.sigma


class LearnedSigma(Sigma):
    """One sigma learned by gradient, over a soft floor."""

    def __init__(self, init: Initial) -> None:
        super().__init__(init)
        self.log_sigma = nn.Parameter(torch.tensor([self.init - _FLOOR]).log())  # (1,), for FSDP

    def forward(self) -> Tensor:
        return _FLOOR + self.log_sigma.exp().squeeze(0)


class OptimalSigma(Sigma):
    """The residuals' RMS, refit in closed form at the end of each epoch.

    It is that of an epoch's training steps, each under the weights of its time, and so a little
    above the maximum-likelihood sigma of the last weights. A residual that is not finite counts as
    one of the present sigma.
    """

    sigma: Tensor

    def __init__(self, init: Initial) -> None:
        super().__init__(init)
        self.register_buffer("sigma", torch.tensor(self.init))
        self.squares = MeanMetric(nan_strategy="disable")  # of the residuals, over all processes

    def forward(self) -> Tensor:
        return self.sigma

    @torch.no_grad()
    def observe(self, residual: Tensor) -> None:
        square = residual.square()  # one that is not finite would stay: it counts as sigma says
        self.squares.update(torch.where(square.isfinite(), square, self.sigma.square()))

    @torch.no_grad()
    def refit(self) -> None:
        self.sigma.copy_((self.squares.compute() + _FLOOR**2).sqrt())
        self.squares.reset()

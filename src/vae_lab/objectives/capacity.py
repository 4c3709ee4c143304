"""Controlled capacity: a rate that is set, and rises during training.

Burgess et al., Understanding Disentangling in beta-VAE, 2018 (https://arxiv.org/abs/1804.03599).
"""

from torch import Tensor

from vae_lab.arguments import NonNegative, Positive
from vae_lab.model.context import Context
from vae_lab.objectives.base import Objective
from vae_lab.trace import Trace


class Capacity(Objective):
    """log p(x|z) - gamma |KL - C|, C rising linearly from 0 to `nats`, where it rests.

    KL is the batch's mean: it is the average rate that is set, not that of every datum. With C at 0
    and gamma at 1 this is, over a batch, the ELBO.

    A KL can also be had without telling anything of x: a rate at C with no active units is one that
    gamma has forced before the decoder could use it. Lower gamma or the learning rate.
    """

    reads_batch = True

    def __init__(
        self, context: Context, nats: NonNegative, epochs: Positive, gamma: Positive
    ) -> None:
        """Set a capacity.

        Args:
            context: The model's.
            nats: C at its end, the rate that the KL is held at.
            epochs: How long C rises; they count as warm-up.
            gamma: What one nat above or below C costs.
        """
        super().__init__(context)
        self.nats, self.epochs, self.gamma = float(nats), float(epochs), gamma

    @property
    def warmup_epochs(self) -> float:
        return self.epochs if self.nats else 0.0  # a C of 0 does not rise

    def describe(self) -> str:
        if (self.nats, self.gamma) == (0, 1):
            return ""
        no_bound = ", no bound" * (self.nats > 0 or self.gamma < 1)
        return (
            f"capacity to {self.nats:g} nats over {self.epochs:g} epochs, gamma {self.gamma:g}"
            f"{no_bound}"
        )

    def capacity(self, epoch: Tensor) -> Tensor:
        """C at this time, in nats, a scalar."""
        return self.nats * (epoch / self.epochs).clamp(max=1)

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        rate = trace.kl.sum(0).mean()
        return trace.log_px - self.gamma * (rate - self.capacity(epoch)).abs()

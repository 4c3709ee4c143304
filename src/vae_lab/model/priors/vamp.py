"""The variational mixture of posteriors.

Tomczak and Welling, VAE with a VampPrior, 2018 (https://arxiv.org/abs/1705.07120).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from vae_lab.arguments import Count
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.model.priors.base import Prior
from vae_lab.trace import Batch

_EDGE = 0.05
"""How far inside (0, 1) a pseudo-input starts: at the edges a sigmoid has no gradient."""


class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z|u_k): the posteriors of K learned pseudo-inputs u_k in (0, 1).

    They start as training data. Where the encoder reads labels, each keeps the label of the datum
    that it started from. The K are encoded with every batch, and each draw is compared with all K.
    """

    reads_labels = False
    y: Tensor | None

    def __init__(self, context: Context, components: Count) -> None:
        """Raises InputError for a model without a q(z|x) of its own.

        Args:
            context: What the model tells.
            components: K, how many pseudo-inputs.
        """
        super().__init__(context)
        if context.q_z is None:
            raise InputError(
                "a VampPrior learns with the one encoder that it is made of: say "
                "model/prior=mixture."
            )
        self.q_z = context.q_z
        self.logits = nn.Parameter(torch.randn(components, *context.x_shape))
        classes = context.num_classes
        labels = None if classes is None else torch.arange(components) % classes
        self.register_buffer("y", labels)

    def initialise(self, take: Callable[[int], Batch]) -> None:
        """Start from as many training data; of fewer, from each several times."""
        count = len(self.logits)
        batch = take(count)
        which = torch.arange(count) % len(batch.x)
        with torch.no_grad():
            self.logits.copy_(batch.x[which].clamp(_EDGE, 1 - _EDGE).logit())
        if self.y is not None and batch.y is not None:
            self.y.copy_(batch.y[which])

    def forward(self, y: Tensor | None) -> Distribution:
        components = self.q_z(self.logits.sigmoid(), self.y)
        weights = torch.zeros(len(self.logits), device=self.logits.device)
        return MixtureSameFamily(
            Categorical(logits=weights, validate_args=False), components, validate_args=False
        )

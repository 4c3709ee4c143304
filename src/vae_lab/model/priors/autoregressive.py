"""A prior over codes that tells each from those before it, by a small causal transformer.

As fitted to the codes of a VQ-VAE by van den Oord, Vinyals and Kavukcuoglu, 2017
(https://arxiv.org/abs/1711.00937), there by a PixelCNN; Vaswani et al., Attention Is All You Need,
2017 (https://arxiv.org/abs/1706.03762).
"""

from typing import Annotated

import torch
from annotated_types import Ge, MultipleOf
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import scaled_dot_product_attention

from vae_lab.arguments import Count
from vae_lab.model.context import Context
from vae_lab.model.distributions.autoregressive import Autoregressive
from vae_lab.model.priors.base import Prior
from vae_lab.model.priors.over_codes import over_codes

_HEAD = 32
"""Features with which one head of attention looks."""


class AutoregressivePrior(Prior):
    """p(z) = prod_m p(z_m | z_1 .. z_{m-1}), over the positions of z in the order of memory.

    It starts as the uniform prior: the layer that tells the logits begins at 0.
    """

    reads_labels = False
    draws_in_steps = True

    def __init__(
        self, context: Context, width: Annotated[int, Ge(1), MultipleOf(_HEAD)], layers: Count
    ) -> None:
        """Raises InputError where z is no codes.

        Args:
            context: What the model tells.
            width: Features of a position, each 32 of which look by themselves.
            layers: How many times positions look at those before them.
        """
        super().__init__(context)
        self.of_codes, (self.positions, codes) = over_codes(context)
        self.start = nn.Parameter(torch.randn(width) / width**0.5)
        self.code = nn.Parameter(torch.randn(codes, width) / width**0.5)
        self.place = nn.Parameter(torch.randn(self.positions, width) / width**0.5)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(layers)))
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, codes))
        nn.init.zeros_(self.last[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.last[1].bias)  # type: ignore[arg-type]

    def logits(self, indices: Tensor) -> Tensor:
        """(N, m) -> (N, m, K), of which [:, j] reads the codes before place j alone."""
        before = self.code[indices[:, :-1]]
        start = self.start.expand(len(indices), 1, -1)
        h = torch.cat([start, before], 1) + self.place[: indices.shape[1]]
        out: Tensor = self.last(self.blocks(h))
        return out

    def forward(self, y: Tensor | None) -> Distribution:
        return self.of_codes(Autoregressive(self.logits, self.positions, self.start.device))


class _Block(nn.Module):
    """A look at the positions before, then a perceptron, each added to what was there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * width))
        self.join = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, h: Tensor) -> Tensor:
        """(N, m, width) -> the same."""
        query, key, value = self.look(h).unflatten(-1, (3, -1, _HEAD)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, key, value, is_causal=True)  # (N, heads, m, .)
        h = h + self.join(seen.transpose(1, 2).flatten(2))
        return h + self.think(h)

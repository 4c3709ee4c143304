"""Whole numbers in a row, each told by those before it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints
from torch.distributions.constraints import Constraint

from vae_lab.model.distributions import Size


class Autoregressive(Distribution):
    """p(i) = prod_m p(i_m | i_1 .. i_{m-1}), over M numbers of 0..K-1; a draw takes M passes."""

    arg_constraints = {}  # noqa: RUF012  (torch's own interface)

    def __init__(
        self, logits: Callable[[Tensor], Tensor], positions: int, device: torch.device
    ) -> None:
        """Take what tells each number from those before it.

        Args:
            logits: (N, m) -> (N, m, K) for any m up to M, of which [:, j] reads the numbers before
                place j alone.
            positions: M.
            device: Of what `logits` takes, and so of the draws.
        """
        self.logits, self.positions, self.device = logits, positions, device
        super().__init__(torch.Size(), torch.Size([positions]), validate_args=False)

    @property
    def support(self) -> Constraint:
        return constraints.independent(constraints.nonnegative_integer, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """(*batch, M) -> (*batch), in nats."""
        flat = value.reshape(-1, self.positions)
        each = self.logits(flat).log_softmax(-1).gather(-1, flat.unsqueeze(-1)).squeeze(-1)
        return each.sum(-1).reshape(value.shape[:-1])

    def sample(self, sample_shape: Size = ()) -> Tensor:
        n = math.prod(sample_shape)
        with torch.no_grad():
            drawn = torch.zeros(n, self.positions, dtype=torch.long, device=self.device)
            for place in range(self.positions):
                logits = self.logits(drawn[:, : place + 1])[:, place]
                drawn[:, place] = Categorical(logits=logits, validate_args=False).sample()
        return drawn.reshape(*sample_shape, self.positions)

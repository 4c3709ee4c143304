"""A probability of its own for each of the 256 levels of an 8-bit value."""

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints

from vae_lab.model.distributions import Size


class LevelsDistribution(Distribution):
    """P(x = k/255) = softmax(logits)_k: torch's `Categorical`, over levels for whole numbers.

    `logits` are (*batch, 256), one for each level, the darkest first.

    >>> LevelsDistribution(torch.zeros(256)).log_prob(torch.tensor(1.0))  # nats: 8 bits
    tensor(-5.5452)
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012  (torch's own interface)
    support = constraints.unit_interval

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self._level = Categorical(logits=logits, validate_args=False)
        super().__init__(logits.shape[:-1], validate_args=False)

    def expand(self, batch_shape: Size, _instance: object = None) -> "LevelsDistribution":
        return LevelsDistribution(self.logits.expand(*batch_shape, 256))

    def log_prob(self, value: Tensor) -> Tensor:
        log_prob: Tensor = self._level.log_prob((value * 255).round())
        return log_prob

    @property
    def mean(self) -> Tensor:
        levels = torch.arange(256, device=self.logits.device, dtype=self.logits.dtype) / 255
        return self._level.probs @ levels

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return self._level.sample(torch.Size(sample_shape)).to(self.logits.dtype) / 255

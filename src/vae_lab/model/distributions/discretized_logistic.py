"""The discretised logistic: a probability over the 256 levels of an 8-bit value.

Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016
(https://arxiv.org/abs/1606.04934); the edge bins as in Salimans et al., PixelCNN++, 2017.
"""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid

from vae_lab.model.distributions import Size


class DiscretizedLogisticDistribution(Distribution):
    """P(x = k/255) is a logistic's mass within half a level of it; the edge bins reach to infinity.

    `loc` and `log_scale` are in units of x, of any one shape.
    """

    arg_constraints = {"loc": constraints.real, "log_scale": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        self.loc, self.log_scale = loc, log_scale
        super().__init__(loc.shape, validate_args=False)

    def expand(
        self, batch_shape: Size, _instance: object = None
    ) -> "DiscretizedLogisticDistribution":
        return DiscretizedLogisticDistribution(
            self.loc.expand(batch_shape), self.log_scale.expand(batch_shape)
        )

    def log_prob(self, value: Tensor) -> Tensor:
        # The mass between a and b, sigmoid(b) - sigmoid(a), is
        # sigmoid(b) sigmoid(-a) (1 - e^(a - b)): three factors, none of which cancels.
        k = (value * 255).round()
        inverse_scale = (-self.log_scale).exp()
        a = ((k - 0.5) / 255 - self.loc) * inverse_scale
        b = ((k + 0.5) / 255 - self.loc) * inverse_scale
        below_b, above_a = logsigmoid(b), logsigmoid(-a)
        width = torch.log(-torch.expm1(-inverse_scale / 255))
        inside = below_b + above_a + width
        return torch.where(k <= 0, below_b, torch.where(k >= 255, above_a, inside))

    @property
    def mean(self) -> Tensor:
        # E[k] = sum_k P(K > k), five thresholds at a time: all at once would take memory, and one
        # by one makes a program of a thousand steps, which takes half a minute to export.
        inverse_scale = (-self.log_scale).exp()
        total = torch.zeros_like(self.loc)
        thresholds = (torch.arange(255, device=total.device, dtype=total.dtype) + 0.5) / 255
        for five in thresholds.view(51, 5, *[1] * total.dim()):
            total = total + torch.sigmoid((self.loc - five) * inverse_scale).sum(0)
        return total / 255

    def sample(self, sample_shape: Size = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            x = self.loc + self.log_scale.exp() * torch.logit(u, eps=1e-7)
            return (x * 255).round().clamp(0, 255) / 255

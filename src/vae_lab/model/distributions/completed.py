"""An image of which a part is given."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.distributions import Size


class Completed(Distribution):
    """p(x | its given pixels), over whole images: these are as they are, the missing ones random.

    >>> p = torch.distributions.Bernoulli(torch.full((1, 1, 2), 0.25))
    >>> p = torch.distributions.Independent(p, 2)
    >>> Completed(p, torch.ones(1, 1, 2, 2), torch.tensor([1, 3])).mean
    tensor([[[[1.0000, 0.2500],
              [1.0000, 0.2500]]]])
    """

    arg_constraints = {}  # noqa: RUF012  (torch's own interface)

    def __init__(self, p: Distribution, x: Tensor, missing: Tensor) -> None:
        """Of the missing pixels and the given ones.

        Args:
            p: Of the missing pixels, batch shape (*batch, B), event shape (C, M).
            x: What the given pixels are taken from, (B, C, H, W).
            missing: (M,), where in H * W the missing ones are.
        """
        self.p, self.x, self.missing = p, x, missing
        super().__init__(p.batch_shape, x.shape[-3:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self._whole(self.p.mean)

    def sample(self, sample_shape: Size = ()) -> Tensor:
        return self._whole(self.p.sample(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the missing pixels of images that are like x in the given ones, (*sample, *batch)."""
        return self.p.log_prob(value.flatten(-2).index_select(-1, self.missing))

    def _whole(self, values: Tensor) -> Tensor:
        """Missing pixels (*sample, *batch, C, M) -> images (*sample, *batch, C, H, W)."""
        pixels = self.x.flatten(-2).expand(*values.shape[:-1], -1)
        return pixels.index_copy(-1, self.missing, values).unflatten(-1, self.x.shape[-2:])

"""A prior over codes wherever they lie."""

import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, Distribution, TransformedDistribution

from vae_lab.errors import InputError
from vae_lab.model.priors.base import Prior
from vae_lab.trace import full_precision, is_discrete


class Standardized(nn.Module):
    """z = loc + scale * u, with u from a prior: what a code's units are measured in is taken out.

    So that a prior which starts near N(0, I) starts near the codes of any model. Discrete codes
    have no units: there z = u.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, prior: Prior) -> None:
        """`prior` is that of u."""
        super().__init__()
        self.prior = prior
        self.register_buffer("loc", torch.zeros(prior.z_shape))
        self.register_buffer("scale", torch.ones(prior.z_shape))

    @property
    def reads_labels(self) -> bool:
        """Whether it is p(z|y)."""
        return self.prior.reads_labels

    def standardize(self, z: Tensor) -> None:
        """Take location and scale of every unit from continuous codes, (N, *Z).

        Raises InputError for fewer than two, which have no scale.
        """
        if len(z) < 2:
            raise InputError(
                f"too few codes ({len(z)}) to fit a prior to, two at the least: choose a run that "
                "was trained on more data."
            )
        self.loc.copy_(z.mean(0))
        self.scale.copy_(z.std(0).clamp(min=1e-6))  # a unit that says nothing has a density too

    def start_from(self, z: Tensor, y: Tensor | None, seed: int) -> None:
        """Have the prior of u start from codes, (N, *Z), as `Prior.start_from` says."""
        self.prior.start_from((z - self.loc) / self.scale, y, seed)

    @full_precision
    def forward(self, y: Tensor | None) -> Distribution:
        """The prior over z, batch shape () or, for labels y (B,), (B,)."""
        p = self.prior(y)
        if is_discrete(p):
            return p
        affine = AffineTransform(self.loc, self.scale, event_dim=self.loc.dim())
        return TransformedDistribution(p, [affine], validate_args=False)

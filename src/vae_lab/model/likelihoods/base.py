"""What a likelihood adds to a family."""

from abc import ABC
from typing import ClassVar

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.family import Family
from vae_lab.support import Support


class Likelihood(Family, ABC):
    """A family for p(x|z)."""

    support: ClassVar[Support]
    """The values of x it is defined on, and so the preparation that the data need."""

    def observe(self, x: Tensor, p_x: Distribution) -> None:
        """See one training batch: x, (B, *X), and its p(x|z), batch shape (S, B).

        That of a step that is skipped is seen too, so that not all it says need be finite.
        """
        return

    def refit(self) -> None:
        """Fit, at the end of an epoch, what is fitted in closed form from what was observed."""
        return

"""What a likelihood adds to a family."""

from abc import ABC
from typing import ClassVar

from vae_lab.model.family import Family
from vae_lab.support import Support


class Likelihood(Family, ABC):
    """A family for p(x|z)."""

    support: ClassVar[Support]
    """The values of x it is defined on, and so the preparation that the data need."""

    def refit(self) -> None:
        """Fit, at the end of an epoch, what is fitted in closed form from what was observed."""
        return

"""The values of x that a likelihood is defined on."""

from enum import Enum


class Support(Enum):
    """The values of x a likelihood is defined on, and so the preparation it needs."""

    BINARY = "x in {0, 1}, a probability"
    LEVELS = "x = k/255, a probability over 256 levels"
    CONTINUOUS = "x in [0, 1], a density"
    GREY = "x = k/255 read as an expectation, not a likelihood"

    @property
    def is_discrete(self) -> bool:
        """Whether log p(x|z) is the log of a probability."""
        return self in (Support.BINARY, Support.LEVELS)

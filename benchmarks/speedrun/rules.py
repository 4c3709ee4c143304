"""When a run is a record: the arithmetic of RECORDS.md, without a file or a clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import mean, median, stdev

from vae_lab.errors import InputError

TARGETS = (88.0, 86.5)
"""Of the two classes: test NLL in nats."""
SEEDS, BASELINE_SEEDS, PAIRS = 3, 6, 4
"""The least number of a record's seeds and of its baseline's; how many pairs race, in turn."""
SIGMAS = 3.09
"""How far below the target a mean must lie: by chance, one in a thousand does."""
RATIO = 0.97
"""The most that a new record may take of the old one's time."""
ROUNDING = 1e-4
"""The most that a systems-only change may move any epoch's mean objective, relative to it.

Seeds differ by ten times as much, and other roundings (fused Adam or not, a learning rate moved by
2e-7 of itself) by 1e-7, over 12 epochs of 10,000 images."""

Curve = Sequence[float]
"""The training objective of each epoch, in nats."""


@dataclass(frozen=True)
class Reached:
    """How far below a target a mean test NLL lies; all in nats but `num_seeds`."""

    target: float
    mean: float
    num_seeds: int
    sigma: float  # of one run, over the baseline's seeds

    @property
    def sigmas(self) -> float:
        """The distance in standard errors of the mean; negative above the target."""
        distance, error = self.target - self.mean, self.sigma / sqrt(self.num_seeds)
        return distance / error if error else (inf if distance >= 0 else -inf)

    @property
    def holds(self) -> bool:
        """Whether the target is reached, and not by luck."""
        return self.sigmas >= SIGMAS

    def __str__(self) -> str:
        return (
            f"mean NLL {self.mean:.3f} of {self.num_seeds} seeds, {self.sigmas:.2f} standard "
            f"errors below {self.target:g} (sigma {self.sigma:.3f}; {SIGMAS} are needed)"
        )


def reached(target: float, nll: Sequence[float], baseline: Sequence[float]) -> Reached:
    """How far the seeds' test NLL, in nats, lie below `target`.

    Raises InputError for another target, for fewer than 3 seeds, and a baseline of fewer than 6.

    >>> reached(88, [87.7, 87.6, 87.8], [87.5, 87.6, 87.7, 87.7, 87.8, 87.9]).holds
    True
    """
    if target not in TARGETS:
        raise InputError(f"the target is {' or '.join(f'{t:g}' for t in TARGETS)}, not {target:g}.")
    for whose, given, least in (("record", nll, SEEDS), ("baseline", baseline, BASELINE_SEEDS)):
        if len(given) < least:
            raise InputError(
                f"a {whose} has {least} seeds or more, not {len(given)}: say --seeds {least}."
            )
    return Reached(target, mean(nll), len(nll), stdev(baseline))


@dataclass(frozen=True)
class Raced:
    """What pairs of runs took, each new one beside the old record in turn."""

    ratio: float  # the median over pairs of new seconds / old seconds
    faster: int  # pairs in which the new one was
    pairs: int

    @property
    def holds(self) -> bool:
        """Whether the new one beats the old."""
        return self.ratio <= RATIO and self.faster == self.pairs

    def __str__(self) -> str:
        return (
            f"median ratio {self.ratio:.3f} of {self.pairs} pairs, {self.faster} of them faster "
            f"(at most {RATIO} and all are needed)"
        )


def raced(new: Sequence[float], old: Sequence[float]) -> Raced:
    """How the seconds of a new record compare with the old one's, pair by pair.

    Raises InputError for another number of pairs than 4.

    >>> raced([9, 9, 9, 10], [10, 10, 10, 9])
    Raced(ratio=0.9, faster=3, pairs=4)
    """
    if not len(new) == len(old) == PAIRS:
        raise InputError(f"a record races the old one in {PAIRS} pairs, not {len(new)}.")
    ratios = [a / b for a, b in zip(new, old, strict=True)]
    return Raced(median(ratios), sum(ratio < 1 for ratio in ratios), PAIRS)


def drift(new: Sequence[Curve], old: Sequence[Curve]) -> float:
    """The largest distance between two runs' objectives in any epoch of any pair, relative.

    Infinite where they have not as many epochs, or none.

    >>> drift([[-200, -101]], [[-200, -100]])
    0.01
    """
    pairs = list(zip(new, old, strict=True))
    if not all(a and len(a) == len(b) for a, b in pairs):
        return inf
    return max(abs(a / b - 1) for one, other in pairs for a, b in zip(one, other, strict=True))

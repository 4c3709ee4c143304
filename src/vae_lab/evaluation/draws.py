"""What importance weights say of their own estimate."""

from collections.abc import Iterable
from dataclasses import dataclass

from vae_lab.evaluation.evidence import SHARES, Evidence
from vae_lab.trace import Latent, has_fixed_support

FEW_EFFECTIVE = 1.5
"""Effective draws, below which one draw is most of an estimate, and its error near a nat."""
STEEP_RISE = 0.5
"""Nats on average: where ten times the draws still gain as much as models differ by."""
JUMP = 3.0
"""Nats that one item gained: a typical tenth of its draws found a twentieth of p(x), or less."""
NO_LIMIT = (
    "the posterior reaches only a part of where the prior does: the NLL is an upper bound that no "
    "number of draws brings to -log p(x)."
)


def has_limit(latents: Iterable[Latent]) -> bool:
    """Whether ever more draws bring the NLL to -log p(x): not where q(z|x) leaves out some z."""
    return all(has_fixed_support(latent.q) for latent in latents)


@dataclass(frozen=True)
class DrawCheck:
    """How far an importance-weighted NLL may be trusted, as its K draws tell.

    All but the effective draws are in nats. Mind what no number here can see: a mode of p(z|x) that
    not one draw has hit. Then the weights are even, nothing rises, and the NLL is too high all the
    same; it is an upper bound for that reason.

    Attributes:
        num_draws: K.
        effective_mean: Effective draws per item, 1 to K, on average.
        effective_least: Of the item that has fewest.
        rise_mean: What log p(x) gained from K / 10 draws to K.
        rise_largest: Of the item that gained most.
        monte_carlo_error: Of the mean NLL, by the delta method: how far other draws would move it.
            The standard error over items has it in it. Too small where effective draws are few.
        items: How many were scored.
        items_in_doubt: Those of fewer than 1.5 effective draws, or that gained more than 3 nats.
        has_limit: Whether ever more draws bring the NLL to -log p(x).
    """

    num_draws: int
    effective_mean: float
    effective_least: float
    rise_mean: float
    rise_largest: float
    monte_carlo_error: float
    items: int
    items_in_doubt: int
    has_limit: bool = True

    @classmethod
    def of(cls, found: Evidence, num_draws: int, has_limit: bool = True) -> "DrawCheck":
        """The check of all items, with `num_draws` draws each; `has_limit` is the posterior's."""
        effective, rise = found.effective_draws, found.rise
        variance = (1 / effective - 1 / num_draws).clamp(min=0)  # of log p(x), per item
        in_doubt = (effective < FEW_EFFECTIVE) | (rise > JUMP)
        return cls(
            num_draws,
            effective_mean=float(effective.mean()),
            effective_least=float(effective.min()),
            rise_mean=float(rise.mean()),
            rise_largest=float(rise.max()),
            monte_carlo_error=float(variance.sum().sqrt()) / len(rise),
            items=len(rise),
            items_in_doubt=int(in_doubt.sum()),
            has_limit=has_limit,
        )

    @property
    def share(self) -> str:
        """How many draws the rise is told from: about a tenth of them, one at the least."""
        shares = min(SHARES, self.num_draws)
        least, most = self.num_draws // shares, -(-self.num_draws // shares)
        return str(least) if least == most else f"{least} or {most}"

    def doubts(self) -> list[str]:
        """A sentence for each reason to doubt the NLL; none where its draws give no sign."""
        told = [] if self.has_limit else [NO_LIMIT]
        if self.rise_mean > STEEP_RISE:
            told.append(
                f"the NLL still falls: {self.rise_mean:.2f} nats from {self.share} "
                f"draws to {self.num_draws}. Raise evaluate.num_draws."
            )
        if self.items_in_doubt:
            told.append(
                f"{self.items_in_doubt} of {self.items} items rest on very few of their draws, as "
                "where q(z|x) misses a mode: their log p(x) may be nats too low."
            )
        return told

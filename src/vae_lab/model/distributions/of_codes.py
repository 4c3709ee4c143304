"""A distribution over codes, by one over which code each position holds."""

import torch
from torch import Tensor
from torch.distributions import Distribution, register_kl
from torch.distributions.constraints import Constraint

from vae_lab.model.distributions import Size
from vae_lab.model.distributions.quantised import Quantised
from vae_lab.model.family import CodeFamily
from vae_lab.trace import full_precision


class _AnyCodes(Constraint):
    """Whatever is a code of the family at each position."""

    is_discrete = True

    def __init__(self, family: CodeFamily) -> None:
        self.family, self._event_dim = family, len(family.event_shape)
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self._event_dim

    def check(self, value: Tensor) -> Tensor:
        codes = self.family.codes_of(self.family.indices_of(value))
        return (codes == value).flatten(-self._event_dim).all(-1)


class OfCodes(Distribution):
    """z is the codes of indices that a distribution over (M,) of 0..K-1 draws: a mass function.

    What is asked for the mass of must be codes of the family, whose the indices are.
    """

    arg_constraints = {}  # noqa: RUF012  (torch's own interface)

    def __init__(self, family: CodeFamily, of_indices: Distribution) -> None:
        """`of_indices` has the event shape (M,); `family` says which z they stand for."""
        self.family, self.of_indices = family, of_indices
        shape = torch.Size(family.event_shape)
        super().__init__(of_indices.batch_shape, shape, validate_args=False)

    @property
    def support(self) -> Constraint:
        return _AnyCodes(self.family)

    def expand(self, batch_shape: Size, _instance: object = None) -> "OfCodes":
        return OfCodes(self.family, self.of_indices.expand(torch.Size(batch_shape)))

    @full_precision
    def log_prob(self, value: Tensor) -> Tensor:
        log_prob: Tensor = self.of_indices.log_prob(self.family.indices_of(value))
        return log_prob

    @full_precision
    def sample(self, sample_shape: Size = ()) -> Tensor:
        with torch.no_grad():
            indices = self.of_indices.sample(torch.Size(sample_shape))
            return self.family.codes_of(indices)


@register_kl(Quantised, OfCodes)  # type: ignore[untyped-decorator]
def _kl_quantised(q: Quantised, p: OfCodes) -> Tensor:
    """-log p of the one code: known exactly, and M log K where all codes are as likely."""
    log_prob: Tensor = p.of_indices.log_prob(q.indices)
    return -log_prob

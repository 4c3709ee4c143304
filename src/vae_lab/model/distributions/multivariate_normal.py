"""A Gaussian with a full covariance, and the KL that torch lacks: from one with a diagonal."""

from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.distributions.kl import register_kl


def full_normal(loc: Tensor, scale_tril: Tensor) -> MultivariateNormal:
    """N(loc, L L^T), its last dimension one event, for loc (*batch, D) and a lower triangle L."""
    return MultivariateNormal(loc, scale_tril=scale_tril, validate_args=False)


@register_kl(MultivariateNormal, Independent)  # type: ignore[untyped-decorator]
def kl_from_diagonal(q: MultivariateNormal, p: Independent[Distribution]) -> Tensor:
    """KL(q || p) in nats, where p = N(m, diag(s^2)) is over vectors.

    It is the sum over units i of 1/2 ((L L^T)_ii + (mu_i - m_i)^2) / s_i^2 - 1/2 + log s_i / L_ii.
    Raises NotImplementedError for any other p, as torch does for pairs that it does not know.
    """
    base = p.base_dist
    if not isinstance(base, Normal) or p.event_shape != q.event_shape:
        raise NotImplementedError(f"no KL of a MultivariateNormal from independent {base}")
    square = q.variance + (q.loc - base.loc).square()
    log_ratio = base.scale.log() - q.scale_tril.diagonal(dim1=-2, dim2=-1).log()
    return (square / base.scale.square() / 2 - 0.5 + log_ratio).sum(-1)

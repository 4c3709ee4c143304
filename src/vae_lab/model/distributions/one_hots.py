"""Categorical variables side by side, each a one-hot row."""

from torch import Tensor
from torch.distributions import Distribution, Independent, OneHotCategorical

from vae_lab.errors import InputError


def one_hots(logits: Tensor) -> Distribution:
    """M independent one-hot variables of K classes as one event, of logits (*batch, M, K).

    >>> one_hots(torch.zeros(5, 20, 10)).event_shape
    torch.Size([20, 10])
    """
    rows = OneHotCategorical(logits=logits, validate_args=False)
    return Independent(rows, 1, validate_args=False)


def check_one_hots(z_shape: tuple[int, ...]) -> None:
    """Raise InputError unless a shape is that of one-hot rows, (M, K)."""
    if len(z_shape) != 2:
        raise InputError(
            f"a categorical z has two sizes, variables and classes, not {list(z_shape)}: say "
            "model.z_shape=[20,10], for example."
        )

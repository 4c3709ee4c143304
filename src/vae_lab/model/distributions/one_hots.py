"""Categorical variables side by side, each a one-hot row."""

from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, OneHotCategorical

from vae_lab.errors import InputError
from vae_lab.model.distributions import Size


class _OneHots(OneHotCategorical):
    """As torch's, whose inner distribution checks values even where it is told not to.

    Such a check waits for the GPU, and no ONNX program can express it.
    """

    def __init__(self, logits: Tensor) -> None:
        self._categorical = Categorical(logits=logits, validate_args=False)
        shape = self._categorical.param_shape
        Distribution.__init__(self, shape[:-1], shape[-1:], validate_args=False)

    def expand(self, batch_shape: Size, _instance: object = None) -> Distribution:
        made = type(self).__new__(type(self)) if _instance is None else _instance
        return super().expand(batch_shape, made)


def one_hots(logits: Tensor) -> Distribution:
    """M independent one-hot variables of K classes as one event, of logits (*batch, M, K).

    >>> one_hots(torch.zeros(5, 20, 10)).event_shape
    torch.Size([20, 10])
    """
    return Independent(_OneHots(logits), 1, validate_args=False)


def check_one_hots(z_shape: tuple[int, ...]) -> None:
    """Raise InputError unless a shape is that of one-hot rows, (M, K)."""
    if len(z_shape) != 2:
        raise InputError(
            f"a categorical z has two sizes, variables and classes, not {list(z_shape)}: say "
            "model.z_shape=[20,10], for example."
        )

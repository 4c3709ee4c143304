"""Labels: as a caller has them, and where a part cannot do without."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lab.errors import InputError


def needed_classes(num_classes: int | None, without: str) -> int:
    """How many classes the labels have.

    Raises InputError where the data have none; `without` says what to choose for such data.
    """
    if num_classes is None:
        raise InputError(
            "this model reads labels, but the data have none: choose data with labels, or "
            f"{without}."
        )
    return num_classes


def needed_label(y: Tensor | None) -> Tensor:
    """Labels y, (B,). Raises InputError where they are not given."""
    if y is None:
        raise InputError("this model reads labels: give it y, class labels of shape (B,).")
    return y


def as_labels(y: int | Sequence[int] | Tensor, n: int, name: str = "y") -> Tensor:
    """One label for all of n data, or n of them, as a tensor (n,).

    Raises InputError for another shape, and for what are no whole numbers; `name` is what the
    caller calls them. Whether there are such classes only a model knows (`check_labels`).
    """
    try:
        labels = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError):  # text, or rows of different lengths
        labels = torch.tensor(torch.nan)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"{name} must be whole numbers: a class from 0 on, or {n} of them.")
    if labels.shape not in ((), (n,)):
        raise InputError(f"{name} must be one label or {n} of them, not {tuple(labels.shape)}.")
    return labels.long().expand(n)

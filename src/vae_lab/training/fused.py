"""Optimisers that step in one kernel over all weights."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

WAYS = ("fused", "foreach", "capturable", "differentiable")
"""The arguments of torch's optimisers that say how a step is computed."""


def fused(optimizer: Callable[..., Any]) -> Callable[..., Any]:
    """The same optimiser with `fused=True`, where it has such a step and nobody chose another way.

    >>> import torch
    >>> fused(partial(torch.optim.Adam, lr=0.1)).keywords
    {'lr': 0.1, 'fused': True}
    >>> fused(partial(torch.optim.Adam, foreach=True)).keywords
    {'foreach': True}
    >>> fused(partial(torch.optim.Adamax)).keywords
    {}
    """
    if not isinstance(optimizer, partial) or any(way in optimizer.keywords for way in WAYS):
        return optimizer
    has_it = "fused" in inspect.signature(optimizer.func).parameters
    return partial(optimizer, fused=True) if has_it else optimizer

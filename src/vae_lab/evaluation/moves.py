"""What becomes of a code z that is moved: towards another, along one unit, to another class.

A code stands for a datum: `centre(q(z|x))`. N codes, (N, *Z), give decoder means of shape (N, *X).
"""

from collections.abc import Sequence
from operator import index

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from vae_lab.data.preparation import as_numbers
from vae_lab.errors import InputError
from vae_lab.model import VAE, Completion, LatentVariableModel
from vae_lab.trace import Batch, Shape, centre, factorises


def codes(model: VAE, batch: Batch) -> Tensor:
    """The code of each datum, (B, *Z)."""
    return centre(model.q_z(batch.x, batch.y))


def interpolate(model: VAE, ends: Batch, n: int) -> Tensor:
    """Two data, B = 2, and `n` decoder means on the line between their codes.

    (n + 2, *X), the two data first and last. A label that is read is the first one's for the first
    half of the way.
    """
    path = between(model, codes(model, ends), ends.y, n)
    return torch.cat([ends.x[:1], path, ends.x[1:]])


def between(model: VAE, ends: Tensor, y: Tensor | None, n: int) -> Tensor:
    """`n` decoder means on the line between two codes, (2, *Z), both ends among them; (n, *X).

    y, (2,): their labels; the first one's serves the first half of the way, the other's the second.
    """
    t = torch.linspace(0, 1, n, device=ends.device)
    z = torch.lerp(ends[0], ends[1], t.reshape(-1, *[1] * (ends.dim() - 1)))
    return model.p_x(z, None if y is None else y[(t >= 0.5).long()]).mean


def place_in(z_shape: Shape, unit: int | Sequence[int]) -> int:
    """Where one unit of z stands in z flattened: `unit` is a number for each dimension of z.

    Raises InputError for a unit that z does not have.

    >>> place_in((4, 10), (1, 2))
    12
    """
    places = unit if isinstance(unit, Sequence) else (unit,)
    try:
        if any(isinstance(place, bool) for place in places):
            raise TypeError
        return int(np.ravel_multi_index([index(place) for place in places], z_shape))
    except (TypeError, ValueError):
        count = "a number" if len(z_shape) == 1 else f"{len(z_shape)} numbers"
        raise InputError(
            f"unit must be a place in z, which has the shape {z_shape}: {count}, counted from 0, "
            f"not {unit!r}."
        ) from None


def traverse(model: VAE, z: Tensor, y: Tensor | None, unit: int, values: Tensor) -> Tensor:
    """Decoder means with one unit of each code set to each of the `values`, (V,); (N, V, *X).

    `unit` counts through the whole of z. The others, and the label y (N,), stay as they are.
    """
    n, count = len(z), len(values)
    moved = z.flatten(1).repeat_interleave(count, 0)
    moved[:, unit] = values.to(z).repeat(n)
    label = None if y is None else y.repeat_interleave(count)
    return model.p_x(moved.reshape(-1, *z.shape[1:]), label).mean.unflatten(0, (n, count))


def wanted_values(values: Sequence[float] | Tensor) -> Tensor:
    """The values of one unit, (V,). Raises InputError for what is no list of finite numbers."""
    found = as_numbers("values", values)
    told = found.to(torch.float32)
    if found.dtype == torch.bool or told.dim() != 1 or not len(told) or not told.isfinite().all():
        raise InputError(
            "values must be a list of numbers, such as [-2, 0, 2], that are finite in float32."
        )
    return told


def transfer(model: VAE, z: Tensor, y: Tensor, to: Tensor) -> Tensor:
    """Decoder means of the codes z of data of classes y, (N,), as of the classes `to`, (N,).

    What is kept is what the model draws beside the class. Where the prior reads the label that is
    not z but its place among the draws of its class, (z - mu_y) / sigma_y, so the code becomes
    mu_to + sigma_to (z - mu_y) / sigma_y; else it is z. The decoder, where it reads it, is told
    `to`. This is the counterfactual of the generative model: Pearl, Causality, 2009, chapter 7.

    Raises InputError where there is none: see `no_transfer`.
    """
    if reason := no_transfer(model):
        raise InputError(reason)
    if model.prior.reads_labels:
        p, p_to = model.p_z(y), model.p_z(to)
        z = p_to.mean + p_to.stddev * (z - p.mean) / p.stddev
    return model.p_x(z, to).mean


def complete(model: LatentVariableModel, batch: Batch, n: int) -> Distribution:
    """`n` completions of each x, p(x|z) of batch shape (n, B), given a part of it.

    Raises InputError for a model that is given none.
    """
    if not isinstance(model, Completion):
        raise InputError("this model completes no images: train with model=completion_vae.")
    return model.complete(batch, n)


def no_transfer(model: VAE) -> str:
    """Why no x can be re-rendered as another class; empty where it can.

    Where no class says which x are drawn, there is nothing to change. Where p(z|y) is anything but
    a product of Gaussians, such as a mixture, no one place in it answers to a code's in another:
    which component would that be? To keep z itself would say that it does not depend on the class,
    so that a decoder which reads labels does not help.
    """
    if not (model.prior.reads_labels or model.decoder.reads_labels):
        return (
            "this model draws x without a label (neither its prior nor its decoder reads one), so "
            "no image can be re-rendered as another class: train with model=cvae."
        )
    if not model.prior.reads_labels:
        return ""
    p = model.p_z(torch.zeros(1, dtype=torch.long, device=next(model.parameters()).device))
    if factorises(p) and isinstance(p.base_dist, Normal):
        return ""
    return (
        "a code has the same place in another class only where p(z|y) is a product of Gaussians: "
        "train with model/prior=class_gaussian or class_means, or with model=cvae, whose decoder "
        "alone reads the label."
    )

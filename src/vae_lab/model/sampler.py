"""Samples of a model, from its own prior or from one that was fitted to its codes afterwards."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.base import LatentVariableModel
from vae_lab.model.priors.standardized import Standardized
from vae_lab.model.vae import VAE


@dataclass(frozen=True)
class Sampler:
    """Where samples come from."""

    draw: Callable[[int, Tensor | None], Distribution]
    """p(x|z) at n draws of z, batch shape (n,); given their labels (n,) where it reads any."""
    reads_labels: bool
    device: torch.device
    prior: str  # which, in words


def from_own_prior(model: LatentVariableModel) -> Sampler:
    """As the model was trained to."""
    return Sampler(model.sample, model.reads_labels, _device(model), "the model's own prior")


def from_fitted_prior(model: VAE, prior: Standardized) -> Sampler:
    """With z from a prior that was fitted to the model's codes afterwards, and may read labels."""

    def draw(n: int, y: Tensor | None) -> Distribution:
        return model.sample_from(prior(y), n, y)

    reads_labels = model.reads_labels or prior.reads_labels
    name = type(prior.prior).__name__
    return Sampler(draw, reads_labels, _device(model), f"a {name} fitted to its codes afterwards")


def _device(model: LatentVariableModel) -> torch.device:
    return next(model.parameters()).device

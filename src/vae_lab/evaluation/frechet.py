"""The Frechet distance between two sets of images, over features of each."""

import torch
from torch import Tensor

from vae_lab.evaluation.statistics import Estimate
from vae_lab.seeding import seeded_generator


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), of means m and covariances C.

    That is the squared 2-Wasserstein distance between two Gaussians with these moments: Dowson and
    Landau, 1982; between images by Heusel et al., GANs Trained by a Two Time-Scale Update Rule,
    2017, there over the features of an ImageNet network. Here `a` (N, F) and `b` (M, F) are any
    features, and it is in their unit squared. It falls with N and M, whose distances compare only
    where they are the same.

    >>> x = torch.tensor([[0.0], [2.0]])
    >>> round(frechet_distance(x, x + 3), 6)
    9.0
    """
    return _between(_moments(a.double(), _ones(a)), _moments(b.double(), _ones(b)))


def frechet_estimate(a: Tensor, b: Tensor, seed: int, resamples: int = 50) -> Estimate:
    """The same, with the standard error of a bootstrap over both sets."""
    random, a, b = seeded_generator(seed, "frechet"), a.double(), b.double()
    found = [
        _between(_moments(a, _resampled(len(a), random)), _moments(b, _resampled(len(b), random)))
        for _ in range(resamples)
    ]
    error = float(torch.tensor(found).std())
    return Estimate(frechet_distance(a, b), error, f"over {a.shape[1]} features")


def _between(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    roots = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0).sqrt()  # below 0 by rounding
    found = (mean_a - mean_b).square().sum() + (cov_a + cov_b).trace() - 2 * roots.sum()
    return max(float(found), 0.0)


def _moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (F,) and the covariance (F, F) of x (N, F) whose rows count so often, (N,)."""
    count = weights.sum()
    mean = weights @ x / count
    centred = x - mean
    return mean, (weights[:, None] * centred).T @ centred / (count - 1)


def _ones(x: Tensor) -> Tensor:
    return torch.ones(len(x), dtype=torch.float64)


def _resampled(n: int, random: torch.Generator) -> Tensor:
    """How often a bootstrap drew each of n rows."""
    return torch.bincount(torch.randint(n, (n,), generator=random), minlength=n).double()

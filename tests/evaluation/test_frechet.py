"""The Frechet distance, against what it is for Gaussians."""

import math

import pytest
import torch
from scipy.linalg import sqrtm

from vae_lab.evaluation.frechet import frechet_distance, frechet_estimate


def features(n: int = 400, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(5, 5, generator=random, dtype=torch.float64)
    return torch.randn(n, 5, generator=random, dtype=torch.float64) @ mixing


def with_moments(mean: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """Rows that have exactly these moments, in the sample."""
    x = torch.randn(50, len(mean), dtype=torch.float64)
    x -= x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False)
    return mean + (torch.linalg.cholesky(covariance) @ white).T


def test_it_is_the_closed_form_of_two_gaussians() -> None:
    mean_a, mean_b = torch.randn(2, 4, dtype=torch.float64)
    roots = torch.randn(2, 4, 4, dtype=torch.float64)
    cov_a, cov_b = roots @ roots.mT + torch.eye(4, dtype=torch.float64)
    found = frechet_distance(with_moments(mean_a, cov_a), with_moments(mean_b, cov_b))
    cross = sqrtm((cov_a @ cov_b).numpy()).real
    expected = (mean_a - mean_b).square().sum() + (cov_a + cov_b).trace() - 2 * cross.trace()
    assert found == pytest.approx(float(expected), rel=1e-9)


def test_diagonal_gaussians_differ_by_their_means_and_their_deviations() -> None:
    sigma_a, sigma_b = torch.tensor([[1.0, 2.0], [3.0, 0.5]], dtype=torch.float64)
    mu = torch.tensor([1.0, -2.0], dtype=torch.float64)
    a = with_moments(torch.zeros_like(mu), sigma_a.square().diag())
    b = with_moments(mu, sigma_b.square().diag())
    expected = float(mu.square().sum() + (sigma_a - sigma_b).square().sum())
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_images_are_at_no_distance_from_themselves_in_any_order() -> None:
    x = features()
    assert frechet_distance(x, x[torch.randperm(len(x))]) == pytest.approx(0, abs=1e-6)


def test_it_is_symmetric_and_grows_with_what_is_shifted() -> None:
    a, b = features(), features(seed=1)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    near, far = (frechet_distance(a, a + shift) for shift in (0.1, 1.0))
    assert (near, far) == (pytest.approx(0.05, rel=1e-4), pytest.approx(5, rel=1e-6))


def test_units_that_never_fire_do_no_harm() -> None:
    a = features()
    a[:, 2] = 0
    assert frechet_distance(a, a + 1) == pytest.approx(5, abs=1e-5)
    assert frechet_distance(a[:3], a[:3]) == pytest.approx(0, abs=1e-5)


def test_its_standard_error_is_that_of_other_data() -> None:
    found = []  # of two Gaussians 3 apart the error is 2 * 3 that of the difference of their means
    for seed in range(40):
        random = torch.Generator().manual_seed(seed)
        a, b = torch.randn(2, 400, 1, generator=random, dtype=torch.float64)
        found.append(frechet_estimate(a, b + 3, seed))
    spread = float(torch.tensor([each.value for each in found]).std())
    told = sum(each.standard_error or 0 for each in found) / len(found)
    assert spread == pytest.approx(2 * 3 * math.sqrt(2 / 400), rel=4 / math.sqrt(2 * 39))
    assert told == pytest.approx(2 * 3 * math.sqrt(2 / 400), rel=0.1)

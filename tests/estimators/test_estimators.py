import math

import pytest
import torch
from torch.distributions import Independent

from vae_lab.config.allowed import check_parts
from vae_lab.errors import InputError
from vae_lab.estimators import Pathwise, sampled
from vae_lab.model.distributions.normal import Normal, diagonal_normal


def normal(*batch: int) -> Independent:
    return diagonal_normal(torch.randn(*batch, 3), torch.rand(*batch, 3) + 0.1, 1)


def test_draw_adds_the_draws_axis_only_once() -> None:
    prior = diagonal_normal(torch.zeros(3), torch.ones(3), 1)
    assert Pathwise(5).draw(normal(4), prior).z.shape == (5, 4, 3)
    assert Pathwise(5).draw(normal(5, 4), prior).z.shape == (5, 4, 3)
    assert sampled(5)(normal(4), prior).z.shape == (5, 4, 3)


def test_pathwise_gradient_is_that_of_the_expectation() -> None:
    # E[z^2] under N(mu, sigma) is mu^2 + sigma^2: its gradient is (2 mu, 2 sigma).
    mu = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([[0.4]], dtype=torch.float64, requires_grad=True)
    n = 200_000
    z = Pathwise(n).draw(diagonal_normal(mu, sigma, 1), normal(1)).z
    by_draw = torch.stack([2 * z, 2 * z * (z - mu) / sigma]).squeeze().detach()
    z.square().mean().backward()
    assert mu.grad is not None
    assert sigma.grad is not None
    error = by_draw.std(1) / math.sqrt(n)
    assert abs(float(mu.grad) - 1.4) < 4 * error[0]
    assert abs(float(sigma.grad) - 0.8) < 4 * error[1]


def test_draws_survive_vmap_with_independent_noise() -> None:
    draw = torch.vmap(lambda mu: Normal(mu, torch.ones(3)).rsample(), randomness="different")
    noise = draw(torch.zeros(4, 3))
    assert len({float(row.sum()) for row in noise}) == 4


def test_evaluation_draws_carry_no_gradient() -> None:
    q = diagonal_normal(torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3), 1)
    assert not sampled(2)(q, q).z.requires_grad


def test_no_draws_are_refused() -> None:
    with pytest.raises(InputError, match="num_draws"):
        check_parts({"_target_": "vae_lab.estimators.Pathwise", "num_draws": 0}, "estimator")

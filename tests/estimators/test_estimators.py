"""How z is drawn, and what each estimator refuses."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from parts import batch, training
from torch import Tensor
from torch.distributions import Distribution, Independent, Uniform

from vae_lab.config.allowed import check_parts
from vae_lab.errors import InputError
from vae_lab.estimators import (
    DoublyReparameterised,
    Estimator,
    Pathwise,
    ScoreFunction,
    StickingTheLanding,
    sampled,
)
from vae_lab.experiment.first_pass import first_pass
from vae_lab.model.distributions.normal import Normal, diagonal_normal
from vae_lab.model.family import Family
from vae_lab.model.posteriors import Categorical
from vae_lab.model.priors import UniformCategorical
from vae_lab.objectives import ELBO, IWAE, Constant


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


class Wide(Family):
    """Uniform within 1 of its parameters, which move its support."""

    param_shape = property(lambda self: self.event_shape)  # type: ignore[assignment]

    def distribution(self, params: Tensor) -> Distribution:
        return Independent(Uniform(params - 1, params + 1, validate_args=False), 1)


class OfTheBatch(ELBO):
    reads_batch = True


ONE_HOTS = {"posterior": Categorical, "prior": UniformCategorical, "z_shape": (2, 3)}
BETA = partial(ELBO, beta=Constant())


@pytest.mark.parametrize(
    ("estimator", "objective", "parts", "said"),
    [
        (Pathwise(), BETA, ONE_HOTS, "say estimator=score_function"),
        (StickingTheLanding(), BETA, ONE_HOTS, "say estimator=score_function"),
        (DoublyReparameterised(), IWAE, ONE_HOTS, "say estimator=score_function"),
        (StickingTheLanding(2), IWAE, {}, "stl is known .* say estimator=dreg"),
        (DoublyReparameterised(), BETA, {}, "dreg is the gradient of objective=iwae: say that"),
        (ScoreFunction(), partial(OfTheBatch, beta=Constant()), {}, "depends on no other"),
        (StickingTheLanding(), BETA, {"posterior": Wide}, "stl is biased .* estimator=pathwise"),
        (DoublyReparameterised(), IWAE, {"posterior": Wide}, "dreg is biased"),
        (ScoreFunction(), BETA, {"posterior": Wide}, "score_function is biased"),
    ],
)
def test_what_one_cannot_serve_is_refused_before_training(
    estimator: Estimator, objective: Any, parts: dict[str, Any], said: str
) -> None:
    module = training(objective, **parts)
    module.estimator = estimator
    with pytest.raises(InputError, match=said) as refused:
        first_pass(module, batch((1, 8, 8)))
    assert "\n" not in str(refused.value)


def test_dreg_is_refused_over_several_layers() -> None:
    prior = diagonal_normal(torch.zeros(3), torch.ones(3), 1)
    with pytest.raises(InputError, match="serves one latent layer"):
        DoublyReparameterised(2).draw(normal(4, 4), prior)


def test_dreg_is_refused_with_one_draw() -> None:
    node = {"_target_": "vae_lab.estimators.DoublyReparameterised", "num_draws": 1}
    with pytest.raises(InputError, match=r"num_draws must be .* of 2 or more"):
        check_parts(node, "estimator")

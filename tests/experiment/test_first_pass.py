"""What does not fit together is told before training, by the step that nothing is learned from."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from parts import batch, training
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    OneHotCategorical,
    Uniform,
)

from vae_lab import InputError
from vae_lab.experiment.first_pass import first_pass
from vae_lab.model.context import Context
from vae_lab.model.family import Family
from vae_lab.model.posteriors import PointMass
from vae_lab.model.priors import ClassMeans, Prior
from vae_lab.objectives import ELBO, IWAE, Capacity, Constant, InfoVAE, Objective, Reconstruction
from vae_lab.trace import has_fixed_support
from vae_lab.training.module import VAEModule


def weights(module: VAEModule) -> list[Tensor]:
    return [weight.detach().clone() for weight in module.parameters()]


def test_nothing_is_learned_from_it() -> None:
    module = training()
    before = weights(module)
    assert first_pass(module, batch((1, 8, 8))).latents[0].z.shape == (1, 5, 4)
    assert all(map(torch.equal, before, weights(module)))
    assert all(weight.grad is None for weight in module.parameters())


def test_a_prior_that_would_not_learn_is_refused() -> None:
    module = training(Reconstruction, prior=ClassMeans)
    with pytest.raises(InputError, match=r"does not train model\.prior .* fit this one afterwards"):
        first_pass(module, batch((1, 8, 8)))
    module.model.prior.requires_grad_(False)  # held fixed on purpose
    first_pass(module, batch((1, 8, 8)))


@pytest.mark.parametrize(
    "objective", [partial(ELBO, beta=Constant()), partial(ELBO, beta=Constant(0)), IWAE]
)
def test_a_point_mass_is_refused_where_the_objective_is_infinite(
    objective: Callable[[Context], Objective],
) -> None:
    module = training(objective, posterior=PointMass)
    module.estimator.num_draws = 2
    with pytest.raises(InputError, match="a point mass, .* say objective=reconstruction"):
        first_pass(module, batch((1, 8, 8)))


@pytest.mark.parametrize(
    "objective",
    [
        partial(InfoVAE, alpha=0.0, lambda_=10.0, scale=1e-30),  # 0 / 0
        partial(Capacity, nats=25.0, epochs=10.0, gamma=1e38),
    ],
)
def test_an_objective_that_is_not_finite_is_refused(
    objective: Callable[[Context], Objective],
) -> None:
    with pytest.raises(InputError, match="(InfoVAE|Capacity) is not finite at the (first|end)"):
        first_pass(training(objective), batch((1, 8, 8)))


def test_a_monitor_that_a_point_mass_lacks_is_refused() -> None:
    module = training(Reconstruction, posterior=PointMass)
    first_pass(module, batch((1, 8, 8)))
    module.monitor = "val/elbo"
    with pytest.raises(InputError, match="monitor=elbo selects nothing, .* say monitor=objective"):
        first_pass(module, batch((1, 8, 8)))


class Unheard(ELBO):
    def __init__(self, context: Context) -> None:
        super().__init__(context, Constant())
        self.judge = torch.nn.Linear(1, 1)


def test_an_objective_that_leaves_its_own_weights_is_refused() -> None:
    with pytest.raises(InputError, match=r"Unheard does not train objective\.judge"):
        first_pass(training(Unheard), batch((1, 8, 8)))


class OneHots(Family):
    param_shape = property(lambda self: self.event_shape)  # type: ignore[assignment]

    def distribution(self, params: Tensor) -> Distribution:
        return Independent(OneHotCategorical(logits=params), 1)


class UniformOneHots(Prior):
    reads_labels = False

    def forward(self, y: Tensor | None) -> Distribution:
        return Independent(OneHotCategorical(logits=torch.zeros(self.z_shape)), 1)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"posterior": OneHots}, "posterior is discrete and the prior continuous"),
        ({"prior": UniformOneHots}, "posterior is continuous and the prior discrete"),
    ],
)
def test_a_prior_of_another_kind_is_refused(parts: dict[str, object], said: str) -> None:
    module = training(z_shape=(4, 3), **parts)
    with pytest.raises(InputError, match=said):
        first_pass(module, batch((1, 8, 8)))


def test_a_support_that_depends_on_parameters_is_known() -> None:
    zeros = torch.zeros(5, 3)
    normal = Normal(zeros, zeros + 1)
    fixed = [
        normal,
        Independent(normal, 1),
        MixtureSameFamily(Categorical(logits=torch.zeros(5)), Independent(normal, 1)),
        Independent(OneHotCategorical(logits=zeros), 1),
    ]
    assert all(map(has_fixed_support, fixed))
    moving = Uniform(zeros, zeros + 1)
    assert not has_fixed_support(moving)
    assert not has_fixed_support(Independent(Independent(moving, 1), 1))

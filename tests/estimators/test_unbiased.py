"""Every estimator's gradient on Gaussians: its mean, and where its noise must vanish."""

from functools import partial

import pytest
import torch
from linear_gaussian import LinearGaussian
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae_lab.estimators import (
    DoublyReparameterised,
    Estimator,
    Pathwise,
    ScoreFunction,
    StickingTheLanding,
)
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.objectives import ELBO, IWAE, Constant, Objective
from vae_lab.trace import Trace

EPOCH = torch.tensor(0.0)
MODEL = LinearGaussian(
    torch.tensor([[0.9, -0.3], [0.2, 0.7], [-0.6, 0.5]]), torch.tensor([0.1, 0.2, -0.3]),
    torch.tensor(0.8),
)  # fmt: skip
X = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)
PHI = torch.tensor([0.3, -0.5, -0.2, 0.1], dtype=torch.float64)  # means, then log sigmas
PRIOR = diagonal_normal(torch.zeros(2).double(), torch.ones(2).double(), 1)
CONTEXT = Context((3,), None, (2,))
BETA = ELBO(CONTEXT, Constant(0.7))


def gradients(estimator: Estimator, objective: Objective, repeats: int = 40_000) -> Tensor:
    """Of q's parameters, (repeats, 4): the repetitions are the data of one batch."""
    phi = PHI.expand(repeats, 4).clone().requires_grad_()
    q = diagonal_normal(phi[:, :2], phi[:, 2:].exp(), 1)
    latent = estimator.draw(q, PRIOR)
    trace = Trace(X.expand(repeats, 3), None, MODEL.likelihood(latent.z), (latent,))
    values = objective.values(trace, EPOCH)
    (found,) = torch.autograd.grad(estimator.surrogate(objective, values, trace).sum(), phi)
    return found


def of_the_elbo() -> Tensor:
    """The gradient of `BETA`, in closed form."""
    phi = PHI.clone().requires_grad_()
    mu, sigma = phi[:2], phi[2:].exp()
    spread = (MODEL.w.square() @ sigma.square()).sum()
    misfit = (X - MODEL.w @ mu - MODEL.b).square().sum()
    kl = (mu.square() + sigma.square() - 1).sum() / 2 - phi[2:].sum()
    bound = -(misfit + spread) / (2 * MODEL.sigma**2) - 0.7 * kl
    (found,) = torch.autograd.grad(bound, phi)
    return found


def z_scores(found: Tensor, expected: Tensor, variance: Tensor | float = 0.0) -> Tensor:
    return (found.mean(0) - expected) / ((found.var(0) + variance) / len(found)).sqrt()


def observed() -> Estimator:
    """One draw, whose baseline is where training would have brought it."""
    estimator = ScoreFunction(1)
    estimator.observe(torch.full((1, 1), -4.0))
    return estimator


@pytest.mark.parametrize(
    "make",
    [Pathwise, partial(Pathwise, 3), StickingTheLanding, partial(StickingTheLanding, 3),
     observed, partial(ScoreFunction, 2), ScoreFunction],
)  # fmt: skip
def test_under_the_elbo_each_is_unbiased(make: partial[Estimator]) -> None:
    found = gradients(make(), BETA)
    assert z_scores(found, of_the_elbo()).abs().max() < 3


@pytest.mark.parametrize("make", [DoublyReparameterised, ScoreFunction])
def test_under_iwae_each_agrees_with_pathwise(make: type[Estimator]) -> None:
    pathwise, found = gradients(Pathwise(3), IWAE(CONTEXT)), gradients(make(3), IWAE(CONTEXT))
    assert z_scores(found, pathwise.mean(0), pathwise.var(0)).abs().max() < 3
    assert not z_scores(found, of_the_elbo()).abs().max() < 3  # which is another bound's


def test_at_the_exact_posterior_nothing_varies() -> None:
    exact = MODEL.posterior(X.unsqueeze(0))
    assert isinstance(exact, MultivariateNormal)
    iwae, elbo = IWAE(CONTEXT), ELBO(CONTEXT, Constant())

    def largest(estimator: Estimator, objective: Objective) -> float:
        loc, scale = (p.detach().expand(500, *p.shape[1:]).clone().requires_grad_()
                      for p in (exact.loc, exact.scale_tril))  # fmt: skip
        latent = estimator.draw(MultivariateNormal(loc, scale_tril=scale), PRIOR)
        trace = Trace(X.expand(500, 3), None, MODEL.likelihood(latent.z), (latent,))
        values = objective.values(trace, EPOCH)
        surrogate = estimator.surrogate(objective, values, trace).sum()
        return max(float(g.abs().max()) for g in torch.autograd.grad(surrogate, (loc, scale)))

    assert largest(StickingTheLanding(), elbo) < 1e-12
    assert largest(DoublyReparameterised(4), iwae) < 1e-12
    assert largest(Pathwise(), elbo) > 0.5
    assert largest(Pathwise(4), iwae) > 0.05


def test_the_signal_of_dreg_grows_with_the_draws_and_that_of_pathwise_falls() -> None:
    def signal(estimator: Estimator) -> float:
        found = gradients(estimator, IWAE(CONTEXT), 4_000)
        return float(found.mean(0).norm() / found.std(0).norm())

    assert signal(DoublyReparameterised(40)) > 1.5 * signal(DoublyReparameterised(4))
    assert signal(Pathwise(40)) < 0.7 * signal(Pathwise(4))


def test_the_decoder_gets_the_usual_gradient_and_the_log_the_usual_bound() -> None:
    def outcome(estimator: Estimator) -> tuple[Tensor, Tensor]:
        torch.manual_seed(3)
        theta = MODEL.w.clone().requires_grad_()
        model = LinearGaussian(theta, MODEL.b, MODEL.sigma)
        latent = estimator.draw(diagonal_normal(PHI[None, :2], PHI[None, 2:].exp(), 1), PRIOR)
        trace = Trace(X.unsqueeze(0), None, model.likelihood(latent.z), (latent,))
        values = IWAE(CONTEXT).values(trace, EPOCH)
        surrogate = estimator.surrogate(IWAE(CONTEXT), values, trace).sum()
        return torch.autograd.grad(surrogate, theta)[0], IWAE(CONTEXT).reduce(values)

    for ours, usual in zip(outcome(DoublyReparameterised(5)), outcome(Pathwise(5)), strict=True):
        torch.testing.assert_close(ours, usual)


def test_sticking_the_landing_keeps_every_value() -> None:
    q = diagonal_normal(torch.randn(4, 3), torch.rand(4, 3) + 0.1, 1)
    prior = diagonal_normal(torch.zeros(3), torch.ones(3), 1)
    latent = StickingTheLanding(2).draw(q, prior)
    assert not latent.has_closed_form_kl
    assert torch.equal(latent.kl, q.log_prob(latent.z) - prior.log_prob(latent.z))

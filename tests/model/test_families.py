"""Every density is one: mass, moments, gradients, precision."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions import Distribution

from vae_lab.config.allowed import check_parts
from vae_lab.errors import InputError
from vae_lab.model.family import Family, soft_bound
from vae_lab.model.likelihoods import (
    Bernoulli,
    BernoulliGrey,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    FixedSigma,
    Gaussian,
    LearnedSigma,
    Likelihood,
    OptimalSigma,
)
from vae_lab.model.posteriors import DiagonalGaussian
from vae_lab.support import Support

SHAPES = [(1, 2, 3), (3, 4, 4), (5,)]


def gaussian(shape: tuple[int, ...]) -> Gaussian:
    return Gaussian(shape, LearnedSigma(0.2))


def mixture(shape: tuple[int, ...]) -> DiscretizedLogisticMixture:
    return DiscretizedLogisticMixture(shape, 4)


OF_LEVELS = [Categorical, DiscretizedLogistic, mixture]
LIKELIHOODS = [Bernoulli, ContinuousBernoulli, *OF_LEVELS, gaussian]
FAMILIES = [*LIKELIHOODS, BernoulliGrey, DiagonalGaussian]


def one_value(make: object, params: Tensor) -> Distribution:
    """One distribution over a single value for each row of params, (N, k)."""
    family: Family = make((1,)).double()  # type: ignore[operator]
    return family(params.double())


def grid_of(params_per_value: int, spread: float) -> Tensor:
    """Every combination of nine values, or random ones where those are too many."""
    if params_per_value > 2:
        return spread * torch.randn(81, params_per_value)
    ticks = torch.linspace(-spread, spread, 9)
    return torch.cartesian_prod(*[ticks] * params_per_value).reshape(-1, params_per_value)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", FAMILIES)
def test_contract(make: object, shape: tuple[int, ...]) -> None:
    family: Family = make(shape)  # type: ignore[operator]
    assert family.param_shape[1:] == shape[1:]
    d = family(torch.randn(2, 4, *family.param_shape))
    assert d.batch_shape == (2, 4)
    assert d.event_shape == shape
    assert d.mean.shape == (2, 4, *shape)
    x = d.sample()
    assert x.shape == (2, 4, *shape)
    assert d.log_prob(x).shape == (2, 4)


@pytest.mark.parametrize("params", [1, 8, 30, 300])
def test_bernoulli_mass(params: float) -> None:
    d = one_value(Bernoulli, grid_of(1, params))
    mass = sum(d.log_prob(torch.full((9, 1), v, dtype=torch.float64)).exp() for v in (0.0, 1.0))
    torch.testing.assert_close(mass, torch.ones(9, dtype=torch.float64))


@pytest.mark.parametrize("spread", [1, 5, 40])
@pytest.mark.parametrize("make", OF_LEVELS)
def test_mass_over_256_levels(make: object, spread: float) -> None:
    params = grid_of(make((1,)).params_per_value, spread)  # type: ignore[operator]
    d = one_value(make, params)
    levels = torch.arange(256, dtype=torch.float64).reshape(256, 1, 1) / 255
    mass = d.log_prob(levels.expand(256, len(params), 1)).exp().sum(0)
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0, atol=1e-9)


def test_a_categorical_gives_each_level_its_own_logit() -> None:
    logits = torch.randn(3, 256 * 2, 2, 2, dtype=torch.float64)  # 256 planes of 2 channels
    k = torch.randint(256, (3, 2, 2, 2))
    expected = sum(
        logits[b, 2 * int(k[b, c, i, j]) + c, i, j] - logits[b, c::2, i, j].logsumexp(0)
        for b, c, i, j in product(range(3), *[range(2)] * 3)
    )
    found = Categorical((2, 2, 2))(logits).log_prob(k / 255).sum()
    torch.testing.assert_close(found, expected)


def test_a_uniform_categorical_takes_8_bits_a_value() -> None:
    d = Categorical((3, 4, 4))(torch.zeros(5, 256 * 3, 4, 4, dtype=torch.float64))
    bits = -d.log_prob(d.sample()) / (48 * math.log(2))
    torch.testing.assert_close(bits, torch.full_like(bits, 8), rtol=0, atol=1e-12)
    torch.testing.assert_close(d.mean, torch.full_like(d.mean, 0.5))


def test_a_mixture_of_one_is_the_discretized_logistic() -> None:
    params = 3 * torch.randn(5, 2 * 3, 2, 2, dtype=torch.float64)
    weights = torch.randn(5, 3, 2, 2, dtype=torch.float64)  # of no effect
    one = DiscretizedLogisticMixture((3, 2, 2), 1)(torch.cat((weights, params), 1))
    alone = DiscretizedLogistic((3, 2, 2))(params)
    x = torch.randint(256, (7, 5, 3, 2, 2)) / 255
    torch.testing.assert_close(one.log_prob(x), alone.log_prob(x))
    torch.testing.assert_close(one.mean, alone.mean)


def test_a_mixture_has_several_peaks() -> None:
    params = torch.tensor([0.0, 0, 0, 0, 0, 0, 0, 0, -4, -4, -4, -4])  # weights, places, scales
    x = torch.tensor([0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]).reshape(-1, 1)
    found = mixture((1,))(params).log_prob(x)
    peaks, between = found[::2], found[1::2]
    assert peaks.min() > between.max() + 10


def test_components_of_a_mixture_do_not_begin_alike() -> None:
    params = torch.zeros(3 * 10, 28, 28, requires_grad=True)
    x = torch.rand(50, 1, 28, 28)
    (-DiscretizedLogisticMixture((1, 28, 28), 10)(params).log_prob(x).mean()).backward()
    for kind in params.grad.sum((1, 2)).chunk(3):  # of weights, places, scales
        assert len({f"{each:.3g}" for each in kind.tolist()}) == 10


@pytest.mark.parametrize("spread", [1e4, 1e8])
@pytest.mark.parametrize("make", OF_LEVELS)
def test_no_level_is_impossible(make: object, spread: float) -> None:
    family: Likelihood = make((1, 16, 16))  # type: ignore[operator]
    d = family(spread * torch.randn(2, *family.param_shape))
    every = (torch.arange(256) / 255).reshape(1, 16, 16)
    assert d.log_prob(every).isfinite().all()
    assert d.mean.min() >= 0
    assert d.mean.max() <= 1 + 1e-6
    x = d.sample((3,))
    torch.testing.assert_close((x * 255).round() / 255, x, rtol=0, atol=0)


@pytest.mark.parametrize("spread", [0.05, 0.2, 4, 40, 500])
def test_continuous_bernoulli_integral(spread: float) -> None:
    params = grid_of(1, spread)
    d = one_value(ContinuousBernoulli, params)
    x = torch.linspace(0, 1, 200_001, dtype=torch.float64).reshape(-1, 1, 1)
    density = d.log_prob(x.expand(-1, len(params), 1)).exp()
    integral = torch.trapezoid(density, dx=1 / 200_000, dim=0)
    torch.testing.assert_close(integral, torch.ones_like(integral), rtol=0, atol=1e-6)


def test_continuous_bernoulli_is_torchs_where_that_does_not_clamp() -> None:
    logits = torch.linspace(-12, 12, 49, dtype=torch.float64).reshape(-1, 1)
    ours = one_value(ContinuousBernoulli, logits)
    theirs = TorchContinuousBernoulli(logits=logits)
    x = torch.rand(49, 1, dtype=torch.float64)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x).squeeze(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.mean, theirs.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.variance, theirs.variance, rtol=0, atol=1e-4)


@pytest.mark.parametrize("logit", [0.0999999, 0.1000001, -0.0999999, -0.1000001])
def test_continuous_bernoulli_has_no_step_between_its_branches(logit: float) -> None:
    params = torch.tensor([[logit]], dtype=torch.float64, requires_grad=True)
    d = one_value(ContinuousBernoulli, params)
    log_prob = d.log_prob(torch.tensor([[0.3]], dtype=torch.float64))
    l = params.detach().abs()  # noqa: E741
    normaliser = params.detach().clamp(min=0) + ((1 - (-l).exp()) / l).log()
    torch.testing.assert_close(log_prob.detach(), (0.3 * params.detach() - normaliser)[0])
    (gradient,) = torch.autograd.grad(log_prob.sum(), params)
    torch.testing.assert_close(gradient, 0.3 - d.mean.detach(), rtol=0, atol=1e-9)


def test_gaussian_integral_keeps_log_sigma_and_log_two_pi() -> None:
    d = one_value(gaussian, grid_of(1, 4))
    x = torch.linspace(-3, 4, 200_001, dtype=torch.float64).reshape(-1, 1, 1)
    integral = torch.trapezoid(d.log_prob(x.expand(-1, 9, 1)).exp(), dx=7 / 200_000, dim=0)
    torch.testing.assert_close(integral, torch.ones_like(integral), rtol=0, atol=1e-9)


@pytest.mark.parametrize("make", [*LIKELIHOODS, DiagonalGaussian])
@pytest.mark.parametrize("spread", [0.05, 3, 20])
def test_samples_have_the_stated_mean(make: object, spread: float) -> None:
    k = make((1,)).params_per_value  # type: ignore[operator]
    d = one_value(make, grid_of(k, spread))
    n = 20_000
    x = d.sample((n,))
    error = x.std(0) / math.sqrt(n) + 1 / n  # rare events leave an empty deviation
    assert ((x.mean(0) - d.mean).abs() < 5 * error).all()


@pytest.mark.parametrize("make", [ContinuousBernoulli, gaussian, DiagonalGaussian])
def test_samples_have_the_stated_variance(make: object) -> None:
    k = make((1,)).params_per_value  # type: ignore[operator]
    d = one_value(make, grid_of(k, 3))
    n = 50_000
    squares = (d.sample((n,)) - d.mean).square()
    error = squares.std(0) / math.sqrt(n)
    assert ((squares.mean(0) - d.variance).abs() < 5 * error).all()


@pytest.mark.parametrize("spread", [0.2, 1e4])  # spread far, a logistic's tail is 0 in float32
@pytest.mark.parametrize("make", FAMILIES)
def test_every_parameter_gets_a_finite_gradient(make: object, spread: float) -> None:
    family: Family = make((1, 4, 4))  # type: ignore[operator]
    params = (spread * torch.randn(3, *family.param_shape)).requires_grad_()
    d = family(params)
    x = d.sample() if isinstance(family, DiagonalGaussian) else torch.rand(3, 1, 4, 4).round()
    d.log_prob(x).sum().backward()
    for value in (params, *family.parameters()):
        assert value.grad is not None
        assert value.grad.isfinite().all()
    if spread < 1:
        assert (params.grad != 0).all()


@pytest.mark.parametrize("make", FAMILIES)
def test_bf16_autocast_gives_the_float32_density(make: object) -> None:
    family: Family = make((1, 28, 28))  # type: ignore[operator]
    params = torch.randn(4, *family.param_shape).bfloat16()  # what a network hands over
    x = torch.rand(4, 1, 28, 28).round()
    expected = family(params.float()).log_prob(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = family(params).log_prob(x)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("make", LIKELIHOODS)
def test_float32_agrees_with_float64(make: object) -> None:
    family: Likelihood = make((1, 28, 28))  # type: ignore[operator]
    params = 3 * torch.randn(4, *family.param_shape)
    x = (torch.rand(4, 1, 28, 28) * 255).round() / 255
    single = family(params).log_prob(x)
    double = family.double()(params.double()).log_prob(x.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-3)


def test_optimal_sigma_is_the_rms_of_the_residuals() -> None:
    sigma = OptimalSigma(0.25)
    assert float(sigma()) == 0.25
    residuals = [0.1 * torch.randn(3, 1, 4, 4), 0.3 * torch.randn(2, 1, 4, 4)]
    for residual in residuals:
        sigma.observe(residual)
    sigma.refit()
    every = torch.cat([r.flatten() for r in residuals])
    assert float(sigma()) == pytest.approx(float(every.square().mean().sqrt()), rel=1e-4)
    # No other sigma makes those residuals likelier.
    best, other = (
        torch.distributions.Normal(0, s).log_prob(every).sum() for s in (sigma(), sigma() * 1.05)
    )
    assert best > other


def test_optimal_sigma_starts_anew_each_epoch() -> None:
    sigma = OptimalSigma(0.25)
    for scale in (1.0, 0.01):
        sigma.observe(scale * torch.ones(100))
        sigma.refit()
    assert float(sigma()) == pytest.approx(0.01, rel=0.01)


def test_residuals_that_are_not_finite_leave_sigma_finite() -> None:
    sigma = OptimalSigma(0.25)
    sigma.observe(torch.tensor([math.nan, math.inf]))
    sigma.refit()
    assert float(sigma()) == pytest.approx(0.25, rel=1e-4)  # nothing was learnt
    sigma.observe(torch.tensor([0.3, math.nan, -0.1, -math.inf]))
    sigma.refit()
    expected = math.sqrt((0.3**2 + 0.1**2 + 2 * 0.25**2) / 4)
    assert float(sigma()) == pytest.approx(expected, rel=1e-4)


def test_sigma_has_a_soft_floor() -> None:
    learned = LearnedSigma(0.2)
    with torch.no_grad():
        learned.log_sigma.fill_(-100.0)
    assert float(learned().detach()) == pytest.approx(1e-3)
    optimal = OptimalSigma(0.25)
    optimal.observe(torch.zeros(10))
    optimal.refit()
    assert float(optimal()) == pytest.approx(1e-3)


@pytest.mark.parametrize("kind", [FixedSigma, LearnedSigma, OptimalSigma])
def test_sigma_starts_where_it_is_told(kind: type) -> None:
    assert float(kind(0.3)().detach()) == pytest.approx(0.3)
    target = f"vae_lab.model.likelihoods.{kind.__name__}"
    with pytest.raises(InputError, match="sigma.init must be a number above 0.001, not 0"):
        check_parts({"_target_": target, "init": 0.0}, "model.likelihood.sigma")


def test_soft_bound_is_near_the_identity_inside_and_keeps_a_gradient() -> None:
    value = torch.tensor([0.01, 3.0, 20.0], dtype=torch.float64, requires_grad=True)
    bounded = soft_bound(value, 7.0)
    assert float(bounded[0].detach()) == pytest.approx(0.01, rel=1e-4)
    assert (bounded.abs() < 7).all()
    bounded.sum().backward()
    assert (value.grad > 0).all()


def test_supports() -> None:
    assert [kind.support for kind in (Bernoulli, BernoulliGrey, ContinuousBernoulli)] == [
        Support.BINARY,
        Support.GREY,
        Support.CONTINUOUS,
    ]
    assert [s.is_discrete for s in Support] == [True, True, False, False]

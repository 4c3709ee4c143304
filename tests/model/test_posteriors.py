"""Posteriors beyond the diagonal Gaussian: densities, draws, and what their KL is."""

import copy
import math
import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from linear_gaussian import LinearGaussian
from parts import batch, vae
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    Laplace,
    MultivariateNormal,
    kl_divergence,
)

from vae_lab import InputError
from vae_lab.estimators import Pathwise, sampled
from vae_lab.evaluation.draws import NO_LIMIT, DrawCheck, has_limit
from vae_lab.evaluation.evidence import _Weights
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.distributions.uniform import Uniform
from vae_lab.model.family import Family
from vae_lab.model.posteriors import (
    DiagonalGaussian,
    FlowPosterior,
    FullCovariance,
    UniformPosterior,
)
from vae_lab.trace import Latent, Trace, centre, has_fixed_support

flow = partial(FlowPosterior, features=6, transforms=2, widths=[16])
Make = Callable[[tuple[int, ...]], Family]
MAKES: list[Make] = [FullCovariance, UniformPosterior, flow]


def normal(loc: Tensor, scale: float = 1.0) -> Distribution:
    return diagonal_normal(loc, torch.full_like(loc, scale), 1)


def drawn(make: Make, units: int = 5, data: int = 3, spread: float = 1.0) -> Distribution:
    """A distribution of that family, of random parameters, in float64."""
    family = make((units,)).double()
    return family(spread * torch.randn(data, *family.param_shape, dtype=torch.float64))


def mean_within_errors(values: Tensor, expected: Tensor | float) -> None:
    """The mean over dimension 0 is `expected`, within 5 standard errors."""
    error = values.std(0) / math.sqrt(len(values))
    assert ((values.mean(0) - expected).abs() < 5 * error).all()


@pytest.mark.parametrize(
    ("make", "shape"),
    [*((make, (5,)) for make in MAKES), *((make, (1,)) for make in MAKES),
     (UniformPosterior, (2, 3)), (flow, (2, 3))],
)  # fmt: skip
def test_contract(make: Make, shape: tuple[int, ...]) -> None:
    family = make(shape)
    params = torch.randn(4, *family.param_shape, requires_grad=True)
    q = family(params)
    assert (q.batch_shape, q.event_shape) == ((4,), shape)
    z = q.rsample((3,))
    assert z.shape == (3, 4, *shape)
    assert centre(q).shape == (4, *shape)
    assert not q.sample().requires_grad
    assert q.log_prob(z).shape == (3, 4)
    assert q.expand((2, 4)).log_prob(z[:2]).shape == (2, 4)
    (z.sum() + q.log_prob(z).sum()).backward()
    for weights in (params, *family.parameters()):
        assert weights.grad is not None
        assert weights.grad.abs().sum() > 0


@pytest.mark.parametrize("make", MAKES)
def test_draws_and_densities_are_float32_under_autocast(make: Make) -> None:
    family = make((32,))
    params = torch.randn(4, *family.param_shape).bfloat16()  # what a network hands over
    z = family(params.float()).sample((3,))
    expected = family(params.float()).log_prob(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q = family(params)
        latent = Latent(z, q, normal(torch.zeros(32)))
        assert Pathwise(2).draw(q, latent.p).z.dtype is torch.float32
        found = latent.log_ratio + latent.p.log_prob(z)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("spread", [3.0, 1e4])
def test_draws_of_whatever_parameters_have_a_finite_density(make: Make, spread: float) -> None:
    family = make((32,))
    params = (spread * torch.randn(50, *family.param_shape)).requires_grad_()
    latent = Pathwise(20).draw(family(params), normal(torch.zeros(32)))
    assert latent.log_ratio.isfinite().all()
    (latent.log_ratio + latent.kl).sum().backward()
    assert params.grad is not None
    assert params.grad.isfinite().all()


@pytest.mark.parametrize("make", MAKES)
def test_float32_agrees_with_float64(make: Make) -> None:
    family = make((32,))
    params = 3 * torch.randn(50, *family.param_shape)
    z = family(params).sample()
    single = family(params).log_prob(z)
    double = family.double()(params.double()).log_prob(z.double())
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-3)


@pytest.mark.parametrize("make", [FullCovariance, UniformPosterior])
def test_a_closed_form_kl_is_the_mean_of_its_draws(make: Make) -> None:
    q, p = drawn(make), normal(torch.randn(3, 5).double(), 0.7)
    latent = Latent(q.sample((20_000,)), q, p)
    assert latent.has_closed_form_kl
    mean_within_errors(latent.log_ratio, latent.kl[0])
    mean_within_errors(latent.z, q.mean)
    mean_within_errors((latent.z - q.mean).square(), q.variance)


# Full covariance


def test_the_kl_of_a_full_covariance_is_torchs_between_two() -> None:
    q, loc = drawn(FullCovariance), torch.randn(3, 5).double()
    for p_loc in (loc, loc[0]):
        p = MultivariateNormal(p_loc, scale_tril=0.7 * torch.eye(5).double())
        torch.testing.assert_close(kl_divergence(q, normal(p_loc, 0.7)), kl_divergence(q, p))
    assert Latent(q.sample((1,)), q, normal(loc)).kl_per_unit is None  # no sum over units


def test_other_pairs_are_what_they_were() -> None:
    q, zeros = drawn(FullCovariance), torch.zeros(5, dtype=torch.float64)
    for p in (
        Independent(Laplace(zeros, zeros + 1), 1),
        diagonal_normal(zeros.expand(2, 5), zeros + 1, 2),  # over (2, 5), not over vectors
    ):
        with pytest.raises(NotImplementedError):
            kl_divergence(q, p)
    diagonal = normal(zeros, 2.0)
    expected = 5 * (0.5 * (4 - 1) - math.log(2))
    assert float(kl_divergence(diagonal, normal(zeros))) == pytest.approx(expected)


def of_scale(q: MultivariateNormal) -> Tensor:
    """The parameters that make a FullCovariance of it."""
    units = q.event_shape[0]
    sigma = q.scale_tril.diagonal(dim1=-2, dim2=-1)
    below = math.sqrt(units) * q.scale_tril.tril(-1) / sigma.unsqueeze(-1)
    rows, columns = torch.tril_indices(units, units, -1)
    bounded = torch.cat([sigma.log(), below[..., rows, columns]], -1) / 7
    return torch.cat([q.loc, 7 * bounded.atanh()], -1)


def test_the_exact_posterior_of_a_linear_gaussian_model_wastes_nothing() -> None:
    model = LinearGaussian(torch.randn(6, 3), torch.randn(6), torch.tensor(0.7))
    x = model.sample(7)
    exact = model.posterior(x)
    assert isinstance(exact, MultivariateNormal)
    q = FullCovariance((3,)).double()(of_scale(exact))
    latent = sampled(5)(q, normal(torch.zeros(3).double()))
    trace = Trace(x, None, model.likelihood(latent.z), (latent,))
    log_px = model.log_evidence(x)
    torch.testing.assert_close(trace.log_w, log_px.expand(5, 7), rtol=0, atol=1e-9)
    off = exact.covariance_matrix - exact.variance.diag_embed()
    assert off.abs().max() > 0.03  # no diagonal could
    mean_within_errors(sampled(20_000)(q, latent.p).z, exact.mean)


def test_a_full_covariance_is_of_vectors() -> None:
    with pytest.raises(InputError, match=r"not of shape \[2, 3\]: say model.z_shape=\[6\]"):
        FullCovariance((2, 3))


# Uniform


def test_no_draw_leaves_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    def largest(shape: torch.Size, **options: object) -> Tensor:
        return torch.full(shape, 1 - 2**-24)

    q = Independent(Uniform(torch.tensor([100.0, -3.0]), torch.tensor([100.01, -2.9])), 1)
    monkeypatch.setattr(torch, "rand", largest)
    assert super(Uniform, q.base_dist).rsample()[0] == q.base_dist.high[0]  # rounded out of it
    assert q.log_prob(q.sample()).isfinite()


def test_a_uniform_posterior_sees_but_its_box() -> None:
    """Ever more draws bring the NLL to that of the part of p(x, z) within the box, no further."""
    low, high, sigma = -0.5, 1.0, 0.8
    z = torch.linspace(low, high, 200_001, dtype=torch.float64).reshape(-1, 1, 1)
    q = Independent(Uniform(z[0], z[-1]), 1)
    x, p = torch.full((1, 1), 1.2, dtype=torch.float64), normal(torch.zeros(1).double())
    joint = (p.log_prob(z) + normal(z, sigma).log_prob(x)).exp()[:, 0]
    within = torch.trapezoid(joint, dx=(high - low) / 200_000).log()
    draws = sampled(40_000)(q, p)
    trace = Trace(x, None, normal(draws.z, sigma), (draws,))
    weights = _Weights(40_000)
    weights.add(trace.log_w)
    bound, effective = weights.summary()[0], weights.summary()[2]
    assert float(bound) == pytest.approx(float(within), abs=5 / math.sqrt(float(effective)))
    assert float(bound) < float(normal(x[0] * 0, math.hypot(1, sigma)).log_prob(x)) - 0.3


def test_whether_draws_have_a_limit_is_told_of_any_posterior() -> None:
    p = normal(torch.zeros(5).double())
    for make in (FullCovariance, flow, DiagonalGaussian):
        assert has_limit([Latent(torch.zeros(0), drawn(make), p)])
    boxed = [Latent(torch.zeros(0), drawn(make), p) for make in (flow, UniformPosterior)]
    assert not has_limit(boxed)
    check = DrawCheck(10, 9.0, 8.0, 0.0, 0.0, 0.1, 9, 0, has_limit=False)
    assert check.doubts() == [NO_LIMIT]


# Flow


def test_a_flow_is_a_density_of_what_it_draws() -> None:
    q = drawn(partial(FlowPosterior, features=2, transforms=3, widths=[8]), units=2, data=1)
    ticks = torch.linspace(-9, 9, 241, dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks).unsqueeze(1)
    mass = q.log_prob(grid).detach().exp().squeeze(1) * (ticks[1] - ticks[0]) ** 2
    assert float(mass.sum()) == pytest.approx(1, abs=1e-3)
    mean_within_errors(q.sample((20_000,))[:, 0], mass @ grid[:, 0])
    assert has_fixed_support(q)
    with pytest.raises(NotImplementedError):
        kl_divergence(q, normal(torch.zeros(2).double()))


def test_a_flow_follows_what_the_encoder_says() -> None:
    family = flow((4,))
    z, (one, other) = torch.randn(4), torch.randn(2, *family.param_shape)
    assert not torch.allclose(family(one).log_prob(z), family(other).log_prob(z))
    torch.testing.assert_close(
        family(torch.stack([one, other])).log_prob(z)[1], family(other).log_prob(z)
    )


# Models of them


@pytest.mark.parametrize("make", MAKES)
def test_a_model_can_be_copied_and_sent_to_another_process(make: Make) -> None:
    model, data = vae(posterior=make), batch((1, 8, 8))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), vae(posterior=make)):
        other.load_state_dict(model.state_dict())
        z = model.q_z(data.x, None).sample()
        found = other.q_z(data.x, None).log_prob(z)
        torch.testing.assert_close(found, model.q_z(data.x, None).log_prob(z))

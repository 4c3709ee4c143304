"""Completion: what is given, what is missing, and that only the latter is explained."""

from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from parts import DECODERS, ENCODERS, batch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.config.allowed import check_parts
from vae_lab.errors import InputError
from vae_lab.estimators import Pathwise, sampled
from vae_lab.evaluation.evidence import log_evidence
from vae_lab.evaluation.fidelity import fidelity
from vae_lab.model import Completion, CompletionNetwork, CompletionVAE
from vae_lab.model.completion import missing_pixels
from vae_lab.model.distributions.nothing import Nothing
from vae_lab.model.family import Family
from vae_lab.model.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
    OptimalSigma,
)
from vae_lab.model.posteriors import DiagonalGaussian
from vae_lab.objectives import elbo
from vae_lab.support import Support
from vae_lab.trace import Batch, Latent

QUADRANTS = (1, 2, 3)
LIKELIHOODS = [
    Bernoulli, Categorical, ContinuousBernoulli, DiscretizedLogistic,
    partial(DiscretizedLogisticMixture, components=3),
    lambda shape: Gaussian(shape, OptimalSigma(0.2)),
]  # fmt: skip


def network(**parts: Any) -> CompletionNetwork:
    usual = {
        "x_shape": (1, 8, 8), "num_classes": None, "quadrants": 2, "guess": ENCODERS[0],
        "likelihood": Bernoulli,
    }  # fmt: skip
    return CompletionNetwork(**{**usual, **parts})


def vae(**parts: Any) -> CompletionVAE:
    usual = {
        "x_shape": (1, 8, 8), "z_shape": (4,), "num_classes": None, "quadrants": 2,
        "encoder": ENCODERS[0], "prior_encoder": ENCODERS[0], "decoder": DECODERS[0],
        "guess": ENCODERS[0], "posterior": DiagonalGaussian, "likelihood": Bernoulli,
    }  # fmt: skip
    return CompletionVAE(**{**usual, **parts})


BOTH = (network, vae)


def shaken(model: Completion) -> Completion:
    """With weights so large that all it says depends on all that it reads."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) / 4)
    return model


def with_missing(model: Completion, x: Tensor, values: Tensor) -> Tensor:
    """The same x with other missing pixels, (B, C, M)."""
    return x.flatten(-2).index_copy(-1, model.missing, values).view_as(x)


# Which pixels


def test_the_quadrants_are_those_of_the_protocol() -> None:
    model = network(x_shape=(1, 4, 5))
    x = torch.ones(1, 1, 4, 5)
    given = {q: network(x_shape=(1, 4, 5), quadrants=q).given_of(x)[0, 0] for q in QUADRANTS}
    lower_left = torch.zeros(4, 5)
    lower_left[2:, :2] = 1
    left, all_but = torch.zeros(4, 5), torch.ones(4, 5)
    left[:, :2], all_but[2:, 2:] = 1, 0
    for quadrants, expected in zip(QUADRANTS, (lower_left, left, all_but), strict=True):
        assert torch.equal(given[quadrants], expected)
    assert [len(missing_pixels((1, 28, 28), q)) for q in QUADRANTS] == [588, 392, 196]
    assert model.observed == "its left half"


@pytest.mark.parametrize("shape", [(64,), (1, 1, 8), (1, 8, 1), (8, 8)])
def test_what_has_no_quadrants_is_refused(shape: tuple[int, ...]) -> None:
    for make in BOTH:
        with pytest.raises(InputError, match="quadrants are of images"):
            make(x_shape=shape)


@pytest.mark.parametrize("quadrants", [0, 4, 1.5, "2", True])
def test_other_numbers_of_quadrants_are_refused(quadrants: object) -> None:
    for kind in ("CompletionVAE", "CompletionNetwork"):
        asked = {
            "_target_": f"vae_lab.model.{kind}", "_partial_": True, "quadrants": quadrants,
        }  # fmt: skip
        with pytest.raises(InputError, match=r"model\.quadrants must be 1, 2 or 3"):
            check_parts(asked, "model")


class OfAllAtOnce(Likelihood):
    """A likelihood whose parameters belong to no one pixel."""

    support = Support.BINARY

    @property
    def param_shape(self) -> tuple[int, ...]:
        return (7,)

    def distribution(self, params: Tensor) -> Distribution:
        raise AssertionError


def test_a_likelihood_that_takes_its_parameters_otherwise_is_refused() -> None:
    for make in BOTH:
        with pytest.raises(InputError, match="pixel by pixel.*say model/likelihood=bernoulli"):
            make(likelihood=OfAllAtOnce)


# What is explained


@pytest.mark.parametrize("quadrants", QUADRANTS)
def test_the_probabilities_of_all_completions_sum_to_one(quadrants: int) -> None:
    """And importance weights find each: p(x_m|x_o) is an integral over one unit of z."""
    model = shaken(vae(x_shape=(1, 2, 2), z_shape=(1,), quadrants=quadrants)).double()
    size = 4 - quadrants
    every = torch.tensor(list(product((0.0, 1.0), repeat=size)), dtype=torch.float64)
    x = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64).expand(len(every), 4)
    x = with_missing(model, x.reshape(-1, 1, 2, 2), every.unsqueeze(1))
    data = Batch(x, None, torch.arange(len(every)))
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)

    def everywhere(q: Distribution, p: Distribution) -> Latent:
        z = p.mean + grid[:, None, None] * p.stddev
        return Latent(z, q, p)

    with torch.no_grad():
        trace = model(data, everywhere)
        (latent,) = trace.latents
        step = (grid[1] - grid[0]) * latent.p.stddev[:, 0]
        joint = (trace.log_px + latent.p.log_prob(latent.z)).exp()  # (S, B)
        exact = joint.sum(0) * step
        log_w = model(data, sampled(20_000)).log_w
    torch.testing.assert_close(exact.sum(), torch.ones((), dtype=torch.float64))
    assert exact.max() < 0.999  # no certainty, which would sum to one whatever is wrong
    w = log_w.exp()
    assert ((w.mean(0) - exact).abs() < 5 * w.std(0) / 20_000**0.5 + 1e-12).all()
    data = Batch(x.float(), None, data.index)
    found = log_evidence(model.float(), data, 2000, None, seed=0).exp()
    assert ((found - exact).abs() < 5 * w.std(0) / 2000**0.5 + 1e-12).all()


@pytest.mark.parametrize("quadrants", QUADRANTS)
@pytest.mark.parametrize("make", BOTH)
def test_only_missing_pixels_are_explained_and_only_given_ones_are_read(
    make: Any, quadrants: int
) -> None:
    model, data = shaken(make(quadrants=quadrants)), batch((1, 8, 8))
    flipped = with_missing(model, data.x, 1 - model.missing_of(data.x))
    other = Batch(flipped, data.y, data.index)
    with torch.no_grad():
        torch.manual_seed(1)
        one = model(data, sampled(3))
        assert one.x.shape == (5, 1, len(model.missing))
        assert torch.equal(one.x, model.missing_of(data.x))
        probability = one.p_x.mean  # (S, B, 1, M)
        by_hand = torch.where(one.x == 1, probability, 1 - probability).log().sum((-2, -1))
        torch.testing.assert_close(one.log_px, by_hand, rtol=1e-4, atol=1e-3)
        for use in (lambda b: model.complete(b, 4).mean, lambda b: model.complete(b, 4).sample()):
            torch.manual_seed(2)
            first = use(data)
            torch.manual_seed(2)
            second = use(other)
            assert torch.equal(model.missing_of(first), model.missing_of(second))
            assert torch.equal(first, second)  # and what is given is the same in both
        given = model.given_of(1 - data.x) + data.x - model.given_of(data.x)
        turned = model.complete(Batch(given, None, data.index), 1).mean[0]
        assert not torch.equal(model.missing_of(turned), model.missing_of(first[0]))


def test_the_prior_reads_what_is_given_and_the_posterior_all() -> None:
    model, data = shaken(vae()), batch((1, 8, 8))
    flipped = with_missing(model, data.x, 1 - model.missing_of(data.x))
    with torch.no_grad():
        assert torch.equal(model.p_z(data.x).mean, model.p_z(flipped).mean)
        assert not torch.equal(model.q_z(data.x).mean, model.q_z(flipped).mean)
        assert not torch.equal(model.p_z(data.x).mean, model.p_z(1 - data.x).mean)
        assert model(data, sampled(2)).latents[0].has_closed_form_kl


@pytest.mark.parametrize("quadrants", QUADRANTS)
@pytest.mark.parametrize("make", BOTH)
def test_what_is_given_stays_as_it_is(make: Any, quadrants: int) -> None:
    model, data = shaken(make(quadrants=quadrants, x_shape=(3, 7, 5))), batch((3, 7, 5))
    with torch.no_grad():
        p_x = model.reconstruct(data)
        assert p_x.batch_shape == (5,)
        assert p_x.event_shape == (3, 7, 5)
        for images in (p_x.mean, p_x.sample(), model.complete(data, 2).sample()):
            given = model.given_of(images)
            assert torch.equal(given, model.given_of(data.x).expand_as(given))
            assert not torch.equal(images, data.x.expand_as(images))
        assert model.complete(data, 2).mean.shape == (2, 5, 3, 7, 5)
        assert p_x.sample((4,)).shape == (4, 5, 3, 7, 5)


def test_an_error_is_that_of_a_missing_pixel() -> None:
    model, data = network(quadrants=3), batch((1, 8, 8), 7)
    error = (model.reconstruct(data).mean - data.x).square().detach()
    expected = model.missing_of(error).flatten(1).mean(1).double()
    found = fidelity(model, [data], seed=0)
    assert set(found) == {"reconstruction_error"}
    assert found["reconstruction_error"].value == pytest.approx(float(expected.mean()), rel=1e-5)


# The plain network


def test_the_elbo_of_the_plain_network_is_its_log_likelihood() -> None:
    model, data = shaken(network()), batch((1, 8, 8))
    with torch.no_grad():
        trace = model(data, sampled(3))
        logits = model.guess_of(data.x)
        x = model.missing_of(data.x)
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, x, reduction="none"
        ).sum((1, 2))
        for log_px in (elbo(trace), *trace.log_w):
            torch.testing.assert_close(log_px, -cross_entropy)
        found = log_evidence(model, data, 10, None, seed=0)
    assert trace.log_w.shape == (3, 5)
    assert trace.kl.shape == (1, 3, 5)
    assert trace.has_elbo
    torch.testing.assert_close(found.float(), -cross_entropy)


def test_a_vae_whose_z_says_nothing_is_the_plain_network() -> None:
    model, plain, data = shaken(vae()), network(), batch((1, 8, 8))
    plain.guess.load_state_dict(model.guess.state_dict())
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.zero_()
        log_px, alone = (m(data, sampled(2)).log_px for m in (model, plain))
    torch.testing.assert_close(log_px, alone.expand(2, -1))


def test_nothing_has_probability_one() -> None:
    nothing = Nothing((5,), torch.zeros(()).double())
    z = nothing.rsample(torch.Size((3,)))
    assert z.shape == (3, 5, 0)
    latent = Latent(z, nothing, nothing)
    for zeros in (latent.kl, latent.log_ratio):
        assert torch.equal(zeros, torch.zeros(3, 5).double())
    assert latent.has_closed_form_kl
    assert nothing.mean.shape == nothing.variance.shape == (5, 0)


# Parts


@pytest.mark.parametrize("quadrants", QUADRANTS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11)])
def test_it_is_composed_as_others_are(shape: tuple[int, ...], quadrants: int) -> None:
    for (read, write), likelihood in product(zip(ENCODERS, DECODERS, strict=True), LIKELIHOODS):
        model = vae(
            x_shape=shape, quadrants=quadrants, encoder=read, prior_encoder=read, guess=read,
            decoder=write, likelihood=likelihood,
        )  # fmt: skip
        data = batch(shape)
        trace = model(data, Pathwise(2).draw)
        assert trace.log_w.shape == (2, 5)
        (-elbo(trace).mean()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        assert model.reconstruct(data).mean.shape == (5, *shape)


@pytest.mark.parametrize("make", BOTH)
def test_sigma_is_that_of_the_missing_pixels(make: Any) -> None:
    sigma = OptimalSigma(0.25)
    model = make(quadrants=3, likelihood=lambda shape: Gaussian(shape, sigma))
    data = batch((1, 8, 8))
    with torch.no_grad():
        trace = model(data, sampled(2))
    model.likelihood.observe(trace.x, trace.p_x)
    model.likelihood.refit()
    residual = trace.x - trace.p_x.mean
    assert residual.shape[-1] == 16
    torch.testing.assert_close(sigma(), (residual.square().mean() + 1e-6).sqrt())


@pytest.mark.parametrize("make", BOTH)
def test_it_draws_nothing_of_which_no_part_is_given(make: Any) -> None:
    with pytest.raises(InputError, match=r"given its left half, .*complete\(x, n\)"):
        make().sample(3, None)


def test_any_family_is_a_posterior_and_a_prior() -> None:
    class Wider(Family):
        """N(params, 2^2), in place of a family that YAML names."""

        @property
        def param_shape(self) -> tuple[int, ...]:
            return self.event_shape

        def distribution(self, params: Tensor) -> Distribution:
            normal = torch.distributions.Normal(params, 2.0)
            return torch.distributions.Independent(normal, 1)

    latent = vae(posterior=Wider)(batch((1, 8, 8)), sampled(2)).latents[0]
    assert torch.equal(latent.q.stddev, latent.p.stddev)

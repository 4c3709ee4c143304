"""The ladder VAE: against the plain VAE, a closed form and a sum over a grid; and its layers."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from conftest import QUICK
from linear_gaussian import GaussianOnTheLine
from parts import batch, vae
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from vae_lab import InputError, train
from vae_lab.estimators import (
    DoublyReparameterised,
    Estimator,
    Pathwise,
    ScoreFunction,
    StickingTheLanding,
    sampled,
)
from vae_lab.evaluation.evidence import evidence
from vae_lab.evaluation.layers import layers
from vae_lab.evaluation.metrics import BoundMetrics
from vae_lab.model import LadderVAE
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.family import before_soft_bound
from vae_lab.model.ladder import merged
from vae_lab.model.likelihoods import Bernoulli
from vae_lab.model.networks import Ascent, ConvDecoder, ConvEncoder, Path
from vae_lab.model.priors import ClassMeans, Mixture, StandardNormal, VampPrior
from vae_lab.objectives import ELBO, IWAE, Constant, FreeBits, FreeBitsTotal, elbo
from vae_lab.trace import Batch, Trace

CONV = partial(Ascent, channels=[4, 8], widths=[16, 12])


def ladder(**parts: Any) -> LadderVAE:
    usual = {
        "x_shape": (1, 8, 8), "num_classes": 10, "units": [0, 2, 5, 3], "encoder": CONV,
        "path": Path, "likelihood": Bernoulli, "prior": StandardNormal,
    }  # fmt: skip
    return LadderVAE(**{**usual, **parts})


def dense(
    x_shape: tuple[int, ...] = (6,), units: tuple[int, ...] = (1, 1), **parts: Any
) -> LadderVAE:
    """A ladder of vectors alone, of random weights that are not small."""
    encoder = partial(Ascent, channels=[], widths=[5] * len(units))
    model = ladder(x_shape=x_shape, units=units, encoder=encoder, **parts)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    return model


# Against what is known


def test_with_one_layer_it_is_the_plain_vae() -> None:
    plain = vae(
        x_shape=(1, 28, 28), z_shape=(7,),
        encoder=partial(ConvEncoder, channels=[4, 8], widths=[16]),
        decoder=partial(ConvDecoder, channels=[8, 4], widths=[16]),
    )  # fmt: skip
    encoder = partial(Ascent, channels=[4, 8], widths=[16])
    one = ladder(x_shape=(1, 28, 28), units=[0, 0, 7], encoder=encoder)
    ours, theirs = list(one.parameters()), list(plain.parameters())
    assert [p.shape for p in ours] == [p.shape for p in theirs]
    for mine, weight in zip(ours, theirs, strict=True):
        mine.data.copy_(weight)
    data, bounds = batch((1, 28, 28)), []
    for model in (one, plain):
        torch.manual_seed(1)
        bound = elbo(model(data, Pathwise(3).draw))
        bound.mean().backward()
        bounds.append(bound)
    assert torch.equal(*bounds)
    for mine, weight in zip(ours, theirs, strict=True):
        assert torch.equal(mine.grad, weight.grad)  # type: ignore[arg-type]


def test_its_first_weights_are_those_of_the_plain_vae_in_size() -> None:
    plain = ConvEncoder((1, 28, 28), (2,), channels=[32, 64], widths=[256], activation="gelu")
    ascent = Ascent((1, 28, 28), channels=[32, 64], widths=[256], activation="gelu")
    for ours, theirs in zip(ascent.parameters(), plain.parameters(), strict=False):
        assert float(ours.detach().std()) == pytest.approx(float(theirs.detach().std()), rel=0.2)


class Told(nn.Module):
    """Features that are the parameters already, of a linear-Gaussian ladder's exact posterior."""

    def __init__(self, z_2: Callable[[Tensor], Tensor], z_1: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.z_2, self.z_1 = z_2, z_1

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.z_1(x), self.z_2(x)]


def params(mean: Tensor, variance: Tensor) -> Tensor:
    log_variance = before_soft_bound(variance.log(), 14.0)
    return torch.stack([mean, log_variance.expand_as(mean)], -1)


def test_golden_every_log_weight_of_a_linear_gaussian_ladder_is_the_evidence() -> None:
    """z_2 ~ N(0, 1), z_1 ~ N(a z_2 + c, s^2), x ~ N(w z_1 + b, t^2 I)."""
    a, c, s, t = (torch.tensor(v, dtype=torch.float64) for v in (0.8, -0.3, 0.6, 0.5))
    w, b = torch.randn(2, 4, dtype=torch.float64)
    model = dense((4,), likelihood=GaussianOnTheLine).double()
    seen_variance = t**2 / (w @ w)  # of z_1, as x alone sees it

    def seen(x: Tensor) -> Tensor:
        return params((x - b) @ w / (w @ w), seen_variance)

    def top(x: Tensor) -> Tensor:  # z_2 given x: z_1 is integrated out
        spread = s**2 + seen_variance
        precision = 1 + a**2 / spread
        return params(a * ((x - b) @ w / (w @ w) - c) / spread / precision, 1 / precision)

    model.encoder, model.decoder = Told(top, seen), nn.Linear(1, 4).double()
    model.sides = nn.ModuleList(side[1] for side in model.sides)  # type: ignore[index]
    model.priors[0][0] = nn.Linear(1, 2).double()  # type: ignore[index,operator]
    below = params(c, s**2)
    with torch.no_grad():
        model.priors[0][0].weight.copy_(torch.stack([a, 0 * a]).unsqueeze(1))  # type: ignore[index,union-attr]
        model.priors[0][0].bias.copy_(below)  # type: ignore[index,union-attr]
        model.decoder.weight.copy_(w.unsqueeze(1))
        model.decoder.bias.copy_(b)
        model.likelihood.log_sigma.copy_(t.log())
        x = torch.randn(5, 4, dtype=torch.float64)
        trace = model(Batch(x, None, torch.arange(5)), sampled(3))
    covariance = t**2 * torch.eye(4) + (s**2 + a**2) * torch.outer(w, w)
    known = MultivariateNormal(b + c * w, covariance).log_prob(x)
    torch.testing.assert_close(trace.log_w, known.expand(3, 5), rtol=0, atol=1e-10)


def test_weights_average_to_the_evidence_that_a_grid_finds() -> None:
    """Log p(x) by summing p(z_2) p(z_1 | z_2) p(x | z_1) over z_2 and z_1, each 1-d."""
    model = dense().double()
    x = torch.rand(4, 6, dtype=torch.float64).round()
    with torch.no_grad():
        z = torch.linspace(-14, 14, 4001, dtype=torch.float64).unsqueeze(1)
        step = math.log(28 / 4000)
        log_p = model.prior(None).log_prob(z)[:, None]  # over z_2
        log_p = log_p + model.priors[0](z[:, None]).log_prob(z)  # (z_2, z_1)
        log_p_z1 = log_p.logsumexp(0) + step
        assert abs(log_p_z1.logsumexp(0) + step) < 1e-6  # the grid is wide and fine enough
        known = (log_p_z1[:, None] + model.p_x(z).log_prob(x[:, None]).T).logsumexp(0) + step
        log_w = model(Batch(x, None, torch.arange(4)), sampled(200_000)).log_w
    w = (log_w - known).exp()
    assert ((w.mean(0) - 1).abs() < 5 * w.std(0) / math.sqrt(len(w))).all()
    assert (w.std(0) / math.sqrt(len(w)) < 0.02).all()


def test_the_merged_gaussian_is_the_product() -> None:
    a, b = (diagonal_normal(torch.randn(3, 4).double(), torch.rand(3, 4).double() + 0.1, 1)
            for _ in range(2))  # fmt: skip
    z = torch.randn(7, 3, 4).double()
    rest = a.log_prob(z) + b.log_prob(z) - merged(a, b).log_prob(z)
    torch.testing.assert_close(rest, rest[:1].expand_as(rest))  # the same for every z
    torch.testing.assert_close(merged(a, b).mean, merged(b, a).mean)
    sure = diagonal_normal(torch.ones(3, 4), torch.full((3, 4), 1e-3), 1)
    unsure = diagonal_normal(torch.zeros(3, 4), torch.full((3, 4), 1e3), 1)
    for q in (merged(sure, unsure), merged(unsure, sure)):
        torch.testing.assert_close(q.mean, sure.mean)
        torch.testing.assert_close(q.variance, sure.variance)


# What a pass says


def test_the_kl_is_the_sum_of_its_layers() -> None:
    model, data = ladder(), batch((1, 8, 8))
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2)
    with torch.no_grad():
        trace = model(data, sampled(20_000))
    assert model.z_shapes == ((3,), (5,), (2, 2, 2))
    assert model.layer_sizes == (3, 5, 8)
    assert [latent.q.batch_shape for latent in trace.latents] == [(5,), (20_000, 5), (20_000, 5)]
    for latent, kl, shape in zip(trace.latents, trace.kl, model.z_shapes, strict=True):
        assert latent.z.shape == (20_000, 5, *shape)
        assert latent.has_closed_form_kl
        assert latent.kl_per_unit is not None
        torch.testing.assert_close(latent.kl_per_unit.flatten(2).sum(2), kl)
    jointly = trace.log_px - trace.log_w  # log q(z|x) - log p(z), of all layers at once
    off = jointly - trace.kl.sum(0)
    assert (off.mean(0).abs() < 5 * off.std(0) / math.sqrt(20_000)).all()
    assert (trace.kl.mean((1, 2)) > 0.01).all()
    metrics = BoundMetrics(3)
    metrics.update(trace, trace.log_px.mean(0))
    found = metrics.compute()
    torch.testing.assert_close(found["rate_3"], trace.kl[0].mean())
    by_layer = torch.stack([found[f"rate_{layer}"] for layer in (1, 2, 3)])
    torch.testing.assert_close(by_layer.sum(), found["rate"])


@pytest.mark.parametrize("nats", [0.0, 0.05, 0.5])
def test_free_bits_are_those_of_every_layer(nats: float) -> None:
    model = ladder()
    trace = model(batch((1, 8, 8)), Pathwise(2).draw)
    objective = FreeBits(model.context(), Constant(), nats)
    kls = [latent.kl_per_unit.mean((0, 1)).flatten() for latent in trace.latents]
    wanted = sum(kl.clamp(min=nats).sum() for kl in kls)
    torch.testing.assert_close(objective.penalty(trace).mean(), wanted)
    if not nats:
        torch.testing.assert_close(objective(trace, torch.tensor(0.0)), elbo(trace))
    free = sum(kl.detach().sum() for kl in kls) + 1.0  # more than there is
    total = FreeBitsTotal(model.context(), Constant(), float(free)).penalty(trace)
    torch.testing.assert_close(total, free.expand(2, 5))


@pytest.mark.parametrize("estimator", [StickingTheLanding(200), ScoreFunction(200)])
def test_other_estimators_have_the_mean_of_the_pathwise_gradient(estimator: Estimator) -> None:
    model = dense(units=(1, 2)).double()
    data = Batch(torch.rand(1, 6, dtype=torch.float64).round(), None, torch.zeros(1))
    objective = ELBO(model.context(), Constant())

    def gradients(way: Estimator, repeats: int = 150) -> Tensor:
        found = []
        for _ in range(repeats):
            trace: Trace = model(data, way.draw)
            values = objective.values(trace, torch.tensor(0.0))
            loss = way.surrogate(objective, values, trace).mean()
            each = torch.autograd.grad(loss, list(model.parameters()))
            found.append(torch.cat([gradient.flatten() for gradient in each]))
        return torch.stack(found)

    one, other = gradients(Pathwise(200)), gradients(estimator)
    error = ((one.var(0) + other.var(0)) / len(one)).sqrt()
    z = (one.mean(0) - other.mean(0)) / error.clamp(min=1e-9)
    assert len(z) > 100
    assert z.abs().max() < 4.5
    assert error.norm() < 0.1 * one.mean(0).norm()  # another gradient would show


def test_dreg_and_what_looks_at_one_layer_are_refused_in_one_line() -> None:
    model, data = ladder(), batch((1, 8, 8))
    with pytest.raises(InputError, match="dreg serves one latent layer, .* say estimator=pathwise"):
        model(data, DoublyReparameterised().draw)
    one = ladder(units=[3], encoder=partial(Ascent, channels=[], widths=[8]))
    assert one(data, DoublyReparameterised().draw).log_w.shape == (4, 5)
    for objective in ("beta_tc", "info_vae", "dip_i", "dip_ii"):
        with pytest.raises(InputError, match="looks at one latent layer, and this model has 3"):
            train([*QUICK, "model=ladder_vae", f"objective={objective}"], quiet=True)


# On every shape, with every prior of the top


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 9, 13)])
@pytest.mark.parametrize("units", [[0, 2, 5, 3], [1, 0, 0, 3], [0, 0, 4, 0], [2, 2, 2, 2]])
def test_every_image_is_met(shape: tuple[int, ...], units: list[int]) -> None:
    if not units[-1]:
        with pytest.raises(InputError, match="no layer at its top"):
            ladder(x_shape=shape, units=units)
        return
    model, data = ladder(x_shape=shape, units=units), batch(shape)
    trace = model(data, Pathwise(3).draw)
    assert trace.kl.shape == (sum(map(bool, units)), 3, 5)
    IWAE(model.context())(trace, torch.tensor(0.0)).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.sample(4, None).mean.shape == (4, *shape)
    assert model.reconstruct(data).mean.shape == (5, *shape)
    (found,) = evidence(model.eval(), [data], 20, 1e-6, seed=0)
    torch.testing.assert_close(found.rates.sum(1), found.rate)
    assert found.codes.shape == (5, model.num_units)


@pytest.mark.parametrize(
    "prior", [partial(Mixture, components=3), partial(VampPrior, components=4), ClassMeans]
)
def test_the_top_takes_any_prior(prior: Any) -> None:
    model, data = ladder(prior=prior), batch((1, 8, 8))
    model.initialise(lambda n: data[slice(n)])
    assert model.reads_labels == (prior is ClassMeans)
    trace = model(data, Pathwise(2).draw)
    elbo(trace).mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.sample(5, data.y).mean.shape == (5, 1, 8, 8)
    assert len(layers(model, 4, 2).axes[0].get_yticks()) == 1 + 2 * 2


def test_what_a_held_layer_decides() -> None:
    model = ladder()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3)
    z = model.prior(None).sample((1,)).expand(6, 3)
    with torch.no_grad():
        free, held = model.sample(6, None).mean, model.sample_below(z, 1).mean
        z_1 = torch.randn(1, 2, 2, 2).expand(6, 2, 2, 2)
        decided = model.sample_below(z_1, 3).mean
    assert free.var(0).sum() > held.var(0).sum() > 0
    assert (decided == decided[0]).all()
    assert torch.equal(decided, model.p_x(z_1).mean)
    names = [label.get_text() for label in layers(model, 4, 2).axes[0].get_yticklabels()]
    assert names == ["", "$z_3$", "$z_3$", "$z_3$ to $z_2$", "$z_3$ to $z_2$"]

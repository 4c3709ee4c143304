"""Averages over items, evidence in chunks, and figures."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from linear_gaussian import LinearGaussian
from parts import batch, vae
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from vae_lab.callbacks.latents import summary
from vae_lab.estimators import sampled
from vae_lab.evaluation.evidence import bytes_per_draw, evidence
from vae_lab.evaluation.figures import classes, plot_all, save_figures
from vae_lab.evaluation.grid import image_grid
from vae_lab.evaluation.labels import with_shuffled_labels
from vae_lab.evaluation.metrics import BoundMetrics, LatentUnits, bits_per_dim, centres, means
from vae_lab.evaluation.statistics import active_units
from vae_lab.model import LatentVariableModel
from vae_lab.model.conditioning import Concat
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.distributions.one_hots import one_hots
from vae_lab.model.networks import MLP
from vae_lab.model.priors import ClassMeans
from vae_lab.objectives import elbo
from vae_lab.support import Support
from vae_lab.trace import Batch, Draw, Latent, Trace


class ExactModel(LatentVariableModel):
    """A linear-Gaussian model that infers with its exact posterior, or a widened one."""

    reads_labels = False

    def __init__(self, widen: float = 1.0) -> None:
        super().__init__((6,), None)
        torch.manual_seed(1)
        self.exact = LinearGaussian(torch.randn(6, 3), torch.randn(6), torch.tensor(0.4))
        self.widen = widen
        self.anchor = nn.Parameter(torch.zeros(()))

    num_units = 3
    prior = diagonal_normal(torch.zeros(3).double(), torch.ones(3).double(), 1)

    def given(self, batch: Batch) -> Callable[[Draw], Trace]:
        q = self.exact.posterior(batch.x.double())
        widened = MultivariateNormal(q.mean, q.covariance_matrix * self.widen)  # type: ignore[attr-defined]

        def trace(draw: Draw) -> Trace:
            latent = draw(widened, self.prior)
            return Trace(batch.x, None, self.exact.likelihood(latent.z), (latent,))

        return trace

    def sample(self, n: int, y: Tensor | None) -> Distribution:
        return self.exact.likelihood(self.prior.sample((n,)))

    def reconstruct(self, batch: Batch) -> Distribution:
        return self.exact.likelihood(self.exact.posterior(batch.x.double()).mean)


def data_of(model: ExactModel, n: int = 40) -> Batch:
    return Batch(model.exact.sample(n), None, torch.arange(n))


@pytest.mark.parametrize("k", [1, 7])
@pytest.mark.parametrize("memory_mib", [1e-6, 100])
def test_evidence_is_exact_under_the_exact_posterior(k: int, memory_mib: float) -> None:
    model = ExactModel()
    data = data_of(model)
    (found,) = evidence(model, [data], k, memory_mib, seed=0)
    expected = model.exact.log_evidence(data.x)
    torch.testing.assert_close(found.log_px, expected, rtol=0, atol=1e-10)


def test_chunks_change_neither_the_number_of_draws_nor_the_bound() -> None:
    # logsumexp less log K with the wrong K after chunking would be off by log 2 or more.
    model = ExactModel(widen=2.0)
    data = data_of(model, 400)
    results = [next(evidence(model, [data], 64, mib, seed=0)) for mib in (1e-6, 0.5, 1000)]
    for a, b in pairwise(results):
        gap = a.log_px - b.log_px
        assert abs(float(gap.mean())) < 4 * float(gap.std()) / math.sqrt(400) + 1e-9
        assert abs(float(gap.mean())) < 0.1
        assert abs(float((a.elbo - b.elbo).mean())) < 0.5


def test_the_bound_rises_with_k_towards_the_evidence() -> None:
    model = ExactModel(widen=2.0)
    data = data_of(model, 500)
    exact = float(model.exact.log_evidence(data.x).mean())
    bounds = [float(next(evidence(model, [data], k, 100, 0)).log_px.mean()) for k in (1, 10, 500)]
    assert bounds[0] < bounds[1] < bounds[2] < exact + 0.02
    assert exact - bounds[2] < 0.05


def test_elbo_is_distortion_and_rate() -> None:
    model = vae()
    (found,) = evidence(model, [batch((1, 8, 8))], 50, 0.01, seed=0)
    torch.testing.assert_close(found.elbo, -found.distortion - found.rate)


def test_memory_is_counted_for_what_a_draw_allocates_and_no_more() -> None:
    small, large = (bytes_per_draw(vae(z_shape=(d,))) for d in (2, 200))
    assert large - small >= 198 * 4 * 2
    wide = partial(MLP, widths=[1000])
    assert bytes_per_draw(vae(decoder=wide)) >= 1000 * 4 * 2
    assert bytes_per_draw(vae(encoder=wide)) == bytes_per_draw(vae())  # it is run once a batch


def test_the_encoder_runs_once_a_batch_however_many_chunks() -> None:
    model, calls = vae(), []
    bytes_per_draw(model)
    model.encoder.register_forward_hook(lambda *_: calls.append("x"))
    chunks: list[int] = []
    model.decoder.register_forward_hook(lambda m, given, out: chunks.append(len(out)))
    list(evidence(model, [batch((1, 8, 8)), batch((1, 8, 8))], 50, 1e-6, seed=0))
    assert len(calls) == 3  # one for the count of bytes
    assert len(chunks) == 101


def test_a_chunk_stays_within_the_memory_it_is_given() -> None:
    model, largest = vae(), []
    model.decoder.register_forward_hook(lambda m, given, out: largest.append(len(out)))
    mib = 40 * 5 * bytes_per_draw(model) / 2**20
    list(evidence(model, [batch((1, 8, 8))], 100, mib * 1.001, seed=0))
    assert max(largest) == 40


# Metrics


def trace_of(model: LatentVariableModel, data: Batch) -> Trace:
    return model(data, sampled(1))


def test_means_are_over_items_not_batches() -> None:
    torch.manual_seed(0)
    model, data = vae(), batch((1, 8, 8), 10)
    traces = [trace_of(model, data[:8]), trace_of(model, data[8:])]
    metrics = BoundMetrics()
    for trace in traces:
        metrics.update(trace, 2 * elbo(trace))
    values = torch.cat([elbo(trace) for trace in traces])
    every, found = values.mean(), metrics.compute()
    torch.testing.assert_close(found["elbo_standard_error"], values.std() / 10**0.5)
    torch.testing.assert_close(found["elbo"], every)
    torch.testing.assert_close(found["objective"], 2 * every)
    torch.testing.assert_close(found["elbo"], -found["distortion"] - found["rate"])


def test_a_mean_of_many_items_is_exact_to_the_last_digit() -> None:
    model, metrics = vae(), BoundMetrics()
    trace = trace_of(model, batch((1, 8, 8)))
    values = 1000 + torch.rand(5)
    for _ in range(1000):
        metrics.update(trace, values)
    found = metrics.compute()
    assert_close = partial(torch.testing.assert_close, rtol=2e-7, atol=0)
    assert_close(found["objective"], values.double().mean().float())
    assert_close(found["elbo"], elbo(trace).double().mean().float())


def test_active_units_are_those_whose_mean_varies() -> None:
    mean = torch.zeros(1000, 4)
    mean[:, 0] = torch.randn(1000)  # varies
    mean[:, 1] = 5 + 0.05 * torch.randn(1000)  # varies by 0.0025: below the threshold
    mean[:, 2] = 0.2 * torch.randn(1000)  # by 0.04: above
    q = diagonal_normal(mean, torch.ones_like(mean), 1)
    trace = Trace(mean, None, q, (Latent(q.sample((1,)), q, q),))
    units = LatentUnits(4)
    units.update(trace)
    assert units.compute()["active"].tolist() == [1, 0, 1, 0]


def test_a_discrete_unit_is_active_where_its_probability_varies() -> None:
    sides = torch.tensor([-1.0, 1.0]).repeat(500)  # (B,): to which of two classes x leans
    logits = torch.zeros(1000, 2, 2)
    logits[:, 0, 0] = 0.01 * sides  # turns the mode with every x, and tells nothing of it
    logits[:, 1, 0] = 3.0 * sides
    q = one_hots(logits)
    units = LatentUnits(4)
    trace = Trace(logits, None, q, (Latent(q.sample((1,)), q, one_hots(torch.zeros(2, 2))),))
    units.update(trace)
    found = units.compute()
    assert found["active"].tolist() == [0, 0, 1, 1]
    assert active_units(means(trace).double(), seed=0).value == 2
    assert active_units(centres(trace).double(), seed=0).value == 4
    spread = q.mean.double().var(0, correction=0).flatten()
    torch.testing.assert_close(found["variance_of_means"], spread)
    torch.testing.assert_close(  # p (1 - p), the aggregate's: each class has a share of 1/2
        found["variance"] + found["variance_of_means"], torch.full((4,), 0.25).double()
    )


def test_active_units_survive_a_large_offset() -> None:
    mean = 300 + 0.2 * torch.randn(5000, 1)
    q = diagonal_normal(mean, torch.ones_like(mean), 1)
    units = LatentUnits(1)
    units.update(Trace(mean, None, q, (Latent(q.sample((1,)), q, q),)))
    assert int(units.compute()["active"]) == 1  # torchmetrics squeezes a single unit


def test_what_a_unit_does_adds_up_to_the_trace() -> None:
    model, data = vae(z_shape=(3,)), batch((1, 8, 8), 10)
    units = LatentUnits(3)
    for share in (data[:7], data[7:]):
        units.update(trace_of(model, share))
    found, whole = units.compute(), trace_of(model, data)
    torch.testing.assert_close(found["kl"].sum().float(), whole.kl.mean())
    q = whole.latents[0].q
    torch.testing.assert_close(found["variance"].float(), q.variance.mean(0))
    torch.testing.assert_close(found["variance_of_means"].float(), q.mean.var(0, correction=0))


def test_the_two_variances_of_a_unit_are_the_aggregate_posteriors() -> None:
    mean, sigma = torch.randn(20_000, 2), torch.rand(20_000, 2)
    q, p = diagonal_normal(mean, sigma, 1), diagonal_normal(torch.zeros(2), torch.ones(2), 1)
    z = q.sample()
    units = LatentUnits(2)
    units.update(Trace(mean, None, q, (Latent(z[None], q, p),)))
    found = units.compute()
    aggregate = (found["variance"] + found["variance_of_means"]).float()
    error = z.square().std(0) / math.sqrt(20_000)
    assert ((aggregate - z.var(0)).abs() < 4 * error).all()


def test_a_kl_that_is_no_sum_over_units_is_told_of_none() -> None:
    q = torch.distributions.MultivariateNormal(torch.zeros(5, 3), torch.eye(3))
    p = diagonal_normal(torch.zeros(3), torch.ones(3), 1)
    units = LatentUnits(3)
    units.update(Trace(torch.zeros(5), None, q, (Latent(q.sample((1,)), q, p),)))
    found = units.compute()
    assert found["kl"].isnan().all()
    torch.testing.assert_close(found["variance"], torch.ones(3).double())
    scalars = summary(found)
    assert scalars["kl_mean"].isnan()
    assert float(scalars["posterior_stddev"]) == 1
    assert float(scalars["active_share"]) == 0


def test_metrics_of_two_processes_add_up() -> None:
    model, data = vae(), batch((1, 8, 8), 10)
    shares = [trace_of(model, data[:3]), trace_of(model, data[3:])]
    parts = []
    for share in shares:
        part = BoundMetrics()
        part.update(share, elbo(share))
        parts.append(part)
    together = BoundMetrics()
    for share in shares:
        together.update(share, elbo(share))
    summed = sum(part.total for part in parts) / sum(part.count for part in parts)
    found = together.compute()
    torch.testing.assert_close(
        summed.float(), torch.stack([found[name] for name in together.NAMES])
    )
    assert set(together._reductions.values()) == {torchmetrics_sum()}


def torchmetrics_sum() -> object:
    from torchmetrics.utilities import dim_zero_sum

    return dim_zero_sum


def test_bits_per_dim() -> None:
    nats = 3072 * math.log(2)
    assert bits_per_dim(nats, 3072, Support.LEVELS, False) == pytest.approx(1)
    assert bits_per_dim(nats, 3072, Support.BINARY, False) == pytest.approx(1)
    assert bits_per_dim(nats, 3072, Support.CONTINUOUS, True) == pytest.approx(9)
    assert bits_per_dim(nats, 3072, Support.CONTINUOUS, False) is None
    assert bits_per_dim(nats, 3072, Support.GREY, False) is None


def test_a_uniform_density_of_dequantised_data_costs_eight_bits() -> None:
    from vae_lab.model.likelihoods import ContinuousBernoulli

    d = ContinuousBernoulli((1, 4, 4))(torch.zeros(1, 1, 4, 4))
    nats = -float(d.log_prob(torch.rand(1, 1, 4, 4)))
    assert bits_per_dim(nats, 16, Support.CONTINUOUS, True) == pytest.approx(8)


# Labels


def test_shuffling_keeps_images_and_permutes_labels() -> None:
    data = batch((1, 8, 8), 10)
    assert data.y is not None
    by_size = []
    for size in (10, 3, 1):
        batches = [data[start : start + size] for start in range(0, 10, size)]
        shuffled = list(with_shuffled_labels(batches, data.y, seed=0))
        assert torch.equal(torch.cat([b.x for b in shuffled]), data.x)
        by_size.append(torch.cat([b.y for b in shuffled if b.y is not None]))
    assert not torch.equal(by_size[0], data.y)
    assert sorted(by_size[0].tolist()) == sorted(data.y.tolist())
    assert torch.equal(by_size[0], by_size[1])  # whatever the batches,
    assert torch.equal(by_size[0], by_size[2])  # down to single items


# Figures


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, {"reconstructions", "samples", "interpolation", "traversals"}),
        ({"z_shape": (2,)}, {"latent_means", "manifold"}),
        ({"encoder_conditioning": Concat, "decoder_conditioning": Concat}, {"classes"}),
        ({"prior": ClassMeans}, {"classes", "class_path", "traversals"}),
        ({"x_shape": (3, 32, 32)}, {"reconstructions"}),
        ({"x_shape": (2, 8, 8)}, {"samples"}),
    ],
)
def test_every_figure_a_model_calls_for_is_drawn(
    tmp_path: Path, parts: dict[str, object], expected: set[str]
) -> None:
    model = vae(**parts)
    data = batch(model.x_shape, 10)
    figures = plot_all(model, data)
    assert expected <= set(figures)
    paths = save_figures(figures, tmp_path)
    assert all(path.stat().st_size > 1000 for path in paths.values())
    assert model.training


def test_vectors_have_no_pictures() -> None:
    model = vae(x_shape=(12,), z_shape=(2,))
    assert set(plot_all(model, batch((12,)))) == {"latent_means"}


def test_a_column_of_the_class_grid_shares_its_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    model = vae(encoder_conditioning=Concat, decoder_conditioning=Concat)
    whole = model.p_x
    monkeypatch.setattr(model, "p_x", lambda z, y: (seen.append(z), whole(z, y))[1])
    with torch.no_grad():
        classes(model, 10)
    assert len(seen) == 10
    assert all(torch.equal(z, seen[0]) for z in seen)
    assert not torch.equal(seen[0][0], seen[0][1])


def test_an_image_grid_puts_rows_below_each_other() -> None:
    x = torch.zeros(2, 3, 1, 4, 5)
    x[1, 2] = 1.0
    picture = image_grid(x, "grid").axes[0].images[0].get_array()
    assert picture is not None
    assert picture.shape == (10, 18)
    assert float(picture[5:9, 12:17].min()) == 1
    assert float(picture[:4, :5].max()) == 0

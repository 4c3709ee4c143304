"""The heart: with an exact posterior every importance weight is the evidence."""

import math

import pytest
import torch
from parts import exact_trace
from torch.distributions import Exponential, Independent, Normal

from vae_lab.estimators import Pathwise
from vae_lab.objectives import elbo, iwae
from vae_lab.trace import Batch, Latent, full_precision


def test_golden_every_log_weight_is_the_evidence() -> None:
    trace, evidence = exact_trace()
    assert trace.log_w.shape == (5, 7)
    torch.testing.assert_close(trace.log_w, evidence.expand(5, 7), rtol=0, atol=1e-12)


def test_both_bounds_are_tight_at_the_exact_posterior() -> None:
    trace, evidence = exact_trace(draws=3)
    torch.testing.assert_close(iwae(trace), evidence, rtol=0, atol=1e-12)
    # The ELBO's closed-form KL leaves its one-draw distortion noisy; its log-ratio form does not.
    latent = trace.latents[0]
    by_ratio = (trace.log_px - latent.log_ratio).mean(0)
    torch.testing.assert_close(by_ratio, evidence, rtol=0, atol=1e-12)


def test_kl_is_closed_form_and_agrees_with_its_estimate() -> None:
    q = Independent(Normal(torch.randn(4, 3).double(), torch.rand(4, 3).double() + 0.2), 1)
    p = Independent(Normal(torch.zeros(3).double(), torch.ones(3).double()), 1)
    latent = Pathwise(100_000).draw(q, p)
    assert latent.has_closed_form_kl
    assert latent.kl.shape == latent.log_ratio.shape == (100_000, 4)
    error = latent.log_ratio.std(0) / math.sqrt(100_000)
    assert ((latent.kl[0] - latent.log_ratio.mean(0)).abs() < 4 * error).all()


def test_kl_without_closed_form_is_the_log_ratio() -> None:
    q = Independent(Exponential(torch.ones(4, 3)), 1)
    p = Independent(torch.distributions.HalfCauchy(torch.ones(3)), 1)
    latent = Latent(q.rsample((2,)), q, p)
    assert not latent.has_closed_form_kl
    assert torch.equal(latent.kl, latent.log_ratio)


def test_iwae_is_the_mean_weight_never_a_softmax() -> None:
    trace, _ = exact_trace()
    weights = trace.log_w.exp()
    torch.testing.assert_close(iwae(trace), weights.mean(0).log())


def test_beta_weighs_the_kl_alone() -> None:
    trace, _ = exact_trace()
    kl = trace.kl.sum(0).mean(0)
    torch.testing.assert_close(elbo(trace, 3.0), elbo(trace) - 2 * kl)


@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_full_precision_switches_autocast_off(wanted: torch.dtype) -> None:
    def product() -> torch.Tensor:
        return torch.ones(2, 2) @ torch.ones(2, 2)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = full_precision(product)() if wanted is torch.float32 else product()
    assert found.dtype is wanted


def test_batch_slices_all_of_its_fields() -> None:
    batch = Batch(torch.arange(4.0), torch.arange(4), torch.arange(4))
    assert batch[1:3].y is not None
    assert batch[1:3].x.tolist() == batch[1:3].index.tolist() == [1, 2]
    assert Batch(batch.x, None, batch.index)[:1].y is None

"""Objectives that hold the aggregate posterior to the prior: InfoVAE's MMD, DIP's covariances."""

import math

import pytest
import torch
from parts import exact_trace, gaussian_trace
from torch import Tensor
from torch.distributions import Distribution, TransformedDistribution

from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.objectives import DIPI, DIPII, InfoVAE, elbo
from vae_lab.objectives.info_vae import mmd
from vae_lab.trace import Latent, Trace

CONTEXT = Context((4,), None, (4,))
NOW = torch.tensor(0.0)


def repeated(size: int, draws: int, shift: float) -> Latent:
    """Batches of draws from N(shift, I), and N(0, I)."""
    latent = gaussian_trace(draws, torch.full((size, 2), shift), torch.ones(size, 2)).latents[0]
    return Latent(latent.z.detach(), latent.q, latent.p)


def estimates(size: int, draws: int, shift: float) -> tuple[Tensor, Tensor]:
    """Mean of the MMD over batches, and its standard error."""
    found = mmd(repeated(size, draws, shift), 1.0).mean(1)
    return found.mean(), found.std() / math.sqrt(draws)


def test_the_mmd_is_unbiased_whatever_the_batch() -> None:
    for shift in (0.0, 1.0):
        (few, error), (many, other) = (
            estimates(size, draws, shift) for size, draws in ((2, 40_000), (20, 2_000))
        )
        assert abs(few - many) < 4 * (error**2 + other**2).sqrt()
        assert abs(many) < 4 * other if shift == 0 else many > 10 * other


def test_the_mmd_is_the_u_statistic_of_its_kernel() -> None:
    latent = gaussian_trace(draws=2).latents[0]
    torch.manual_seed(1)
    found = mmd(latent, scale=0.5)
    torch.manual_seed(1)
    other = latent.p.sample((2, 7))
    c = 2 * 4 * 0.5**2

    def k(a: Tensor, b: Tensor) -> float:
        return float(c / (c + (a - b).square().sum()))

    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    for s in range(2):
        z, w = latent.z[s], other[s]
        within = sum(k(z[i], z[j]) + k(w[i], w[j]) for i, j in pairs) / len(pairs)
        between = sum(k(z[i], w[j]) for i, j in pairs) / len(pairs)
        assert float(found[s].mean()) == pytest.approx(within - 2 * between)


def test_of_one_datum_there_is_no_mmd() -> None:
    torch.testing.assert_close(mmd(repeated(1, 3, 1.0), 1.0), torch.zeros(3, 1).double())


def test_a_conditional_prior_is_drawn_once_for_every_label() -> None:
    latent = gaussian_trace(draws=2).latents[0]
    far = diagonal_normal(latent.q.mean.detach() + 100, torch.ones(7, 4), 1)
    assert mmd(Latent(latent.z, latent.q, far), 1.0).shape == (2, 7)


def test_the_mmd_of_a_prior_that_reads_labels_is_unbiased() -> None:
    torch.manual_seed(0)
    at = 10.0 * torch.randint(2, (500, 8, 1)).double() - 5  # +-5, by the label
    found = []
    for mean in at:  # q(z|x, y) = p(z|y): the aggregates are equal
        q = diagonal_normal(mean, torch.ones_like(mean), 1)
        found.append(mmd(Latent(q.sample((1,)), q, q), 1.0).mean())
    share = torch.stack(found)
    assert share.mean().abs() < 4 * share.std() / math.sqrt(len(share))


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.4, 1.0])
def test_info_vae_weighs_as_its_paper_does(alpha: float) -> None:
    trace = gaussian_trace()
    torch.manual_seed(1)
    values = InfoVAE(CONTEXT, alpha, 5.0, 1.0).values(trace, NOW)
    torch.manual_seed(1)
    divergence = mmd(trace.latents[0], 1.0)
    rest = trace.log_px - (1 - alpha) * trace.kl[0] - (alpha + 5 - 1) * divergence
    torch.testing.assert_close(values, rest)


def test_what_is_no_bound_says_so() -> None:
    assert InfoVAE(CONTEXT, 1.0, 9.0, 1.0).describe() == "MMD-VAE, lambda 9, no bound"
    assert InfoVAE(CONTEXT, 0.5, 9.0, 1.0).describe().endswith("alpha 0.5, lambda 9, no bound")
    assert "no bound" not in InfoVAE(CONTEXT, -1.0, 9.0, 1.0).describe()
    assert DIPI(CONTEXT, 1.0, 2.0).describe() == "DIP-I, lambda_od 1, lambda_d 2"


def test_an_mmd_that_would_be_rewarded_is_refused() -> None:
    with pytest.raises(InputError, match="raise objective.lambda_"):
        InfoVAE(CONTEXT, -2.0, 1.0, 1.0)


CROSS = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # covariance I


@pytest.mark.parametrize(
    ("objective", "mean", "variance", "penalty"),
    [
        (DIPI(CONTEXT, 3.0, 5.0), CROSS, 0.5, 0.0),
        (DIPII(CONTEXT, 3.0, 5.0), CROSS, 0.5, 5 * 2 * 0.5**2),  # 0.5 too much in each unit
        (DIPII(CONTEXT, 3.0, 5.0), CROSS / 2, 0.75, 0.0),
        (DIPI(CONTEXT, 3.0, 5.0), CROSS / 2, 0.75, 5 * 2 * 0.75**2),
        (DIPI(CONTEXT, 3.0, 5.0), CROSS[:, :1].expand(4, 2), 0.5, 3 * 2),  # C is 1 everywhere
        (DIPII(CONTEXT, 3.0, 5.0), CROSS[:, :1].expand(4, 2), 0.5, 3 * 2 + 5 * 2 * 0.5**2),
    ],
)
def test_dip_is_the_elbo_less_what_the_covariance_lacks(
    objective: DIPI | DIPII, mean: Tensor, variance: float, penalty: float
) -> None:
    trace = gaussian_trace(3, mean + 7, torch.full((4, 2), variance).sqrt())
    lacking = elbo(trace) - objective(trace, NOW)
    torch.testing.assert_close(lacking, torch.full_like(lacking, penalty))


class Meanless(TransformedDistribution):
    """As a flow is: its mean is not known in closed form."""


@pytest.mark.parametrize("kind", [DIPI, DIPII])
def test_a_posterior_without_the_moments_is_refused(kind: type[DIPI] | type[DIPII]) -> None:
    trace, _ = exact_trace()
    latent = trace.latents[0]
    q: Distribution = Meanless(latent.q, [])
    flow = Trace(trace.x, None, trace.p_x, (Latent(latent.z, q, latent.p),))
    with pytest.raises(InputError, match="model/posterior=diagonal_gaussian"):
        kind(CONTEXT, 1.0, 1.0)(flow, NOW)

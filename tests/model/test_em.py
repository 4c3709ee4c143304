"""Priors that start from codes by EM: against closed forms of one component, and known clusters."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from vae_lab import InputError
from vae_lab.model.context import Context
from vae_lab.model.priors import ClassMixture, FlowPrior, Mixture
from vae_lab.model.priors.em import gaussians_of

ADDED = 1e-3  # to every variance


def codes(n: int, *z_shape: int) -> Tensor:
    units = torch.Size(z_shape).numel()
    random = torch.Generator().manual_seed(0)
    mixing = torch.randn(units, units, generator=random, dtype=torch.float64)
    found = torch.randn(n, units, generator=random, dtype=torch.float64) @ mixing
    return ((found - found.mean(0)) / found.std(0)).unflatten(1, z_shape)


def moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, and the covariance with its addition."""
    return z.mean(0), torch.cov(z.T, correction=0) + ADDED * torch.eye(z.shape[1]).double()


def test_one_component_has_the_moments_of_the_vectors() -> None:
    z = codes(50, 3)
    mu, covariance = moments(z)
    full, diagonal = (gaussians_of(z, 1, kind, 0) for kind in ("full", "diag"))
    for found, expected in ((full, covariance), (diagonal, covariance.diagonal())):
        assert found is not None
        torch.testing.assert_close(found.mu[0], mu)
        torch.testing.assert_close(found.covariance[0], expected)
        assert found.log_weights.tolist() == pytest.approx([0], abs=1e-9)


def test_clusters_are_found_with_their_shares() -> None:
    far = torch.tensor([[50.0, 0.0], [0.0, 50.0]]).double()
    z = codes(400, 2) + far[(torch.arange(400) % 4 == 0).long()]
    found = gaussians_of(z, 2, "diag", seed=0)
    assert found is not None
    order = found.log_weights.argsort()
    torch.testing.assert_close(found.log_weights.exp()[order].tolist(), [0.25, 0.75])
    assert ((found.mu[order] - far.flip(0)).abs() < 5 / 100**0.5).all()


@pytest.mark.parametrize("z_shape", [(3,), (2, 3)])
def test_a_mixture_starts_as_what_em_finds(z_shape: tuple[int, ...]) -> None:
    z = codes(60, *z_shape)
    prior = Mixture(Context((1, 8, 8), None, z_shape), components=4).double()
    prior.start_from(z, None, seed=3)
    found = gaussians_of(z.flatten(1), 4, "diag", seed=3)
    assert found is not None
    exact = MixtureSameFamily(
        Categorical(logits=found.log_weights),
        MultivariateNormal(found.mu, found.covariance.diag_embed()),
    )
    torch.testing.assert_close(prior(None).log_prob(z), exact.log_prob(z.flatten(1)))


def test_a_mixture_per_class_starts_from_the_codes_of_each() -> None:
    z, y = codes(90, 3), torch.arange(90) % 2  # of a third class there are none
    prior = ClassMixture(Context((1, 8, 8), 3, (3,)), components=1).double()
    before = prior(torch.tensor([2] * 90)).log_prob(z)
    prior.start_from(z, y, seed=0)
    for label in (0, 1):
        mu, covariance = moments(z[y == label])
        exact = MultivariateNormal(mu, covariance).log_prob(z)
        torch.testing.assert_close(prior(torch.full((90,), label)).log_prob(z), exact)
    torch.testing.assert_close(prior(torch.tensor([2] * 90)).log_prob(z), before)
    with pytest.raises(InputError, match="give it y"):
        prior.start_from(z, None, seed=0)


def test_of_too_few_codes_and_where_it_cannot_a_prior_stays_as_it_is() -> None:
    place = Context((1, 8, 8), None, (3,))
    few = codes(4, 3)
    assert gaussians_of(few, 4, "full", seed=0) is None
    alike = gaussians_of(few[:1].expand(9, 3), 4, "full", seed=0)  # four means of one point
    assert alike is not None
    assert alike.mu.isfinite().all()
    for prior in (Mixture(place, 4).double(), FlowPrior(place, 1, [8]).double()):
        before = prior(None).log_prob(few)
        prior.start_from(few, None, seed=0)
        torch.testing.assert_close(prior(None).log_prob(few), before)

"""A prior fitted to codes by maximum likelihood."""

import math

import pytest
import torch
from parts import batch, vae
from torch.distributions import Independent, Normal

from vae_lab import InputError
from vae_lab.model.context import Context
from vae_lab.model.posteriors import PointMass
from vae_lab.model.priors import ClassMeans, ClassMixture, StandardNormal
from vae_lab.model.priors.standardized import Standardized
from vae_lab.training.prior_fit import Draws, FitSettings, aggregate_draws, fit, nll, nll_of_all

CONTEXT = Context((1, 8, 8), 3, (2,))
SETTINGS = FitSettings(epochs=60, patience=10, lr=0.03, batch_size=64, seed=0)


def clusters(n: int) -> Draws:
    """Three classes, unit variance, far from the origin and from N(0, I)'s scale."""
    y = torch.randint(3, (n,))
    means = torch.tensor([[100.0, 0.0], [103.0, 3.0], [106.0, -3.0]])
    return Draws(means[y] + torch.randn(n, 2), y)


def test_a_standardized_normal_is_the_normal_of_the_codes() -> None:
    some = clusters(500)
    prior = Standardized(StandardNormal(CONTEXT))
    prior.standardize(some.z)
    exact = Independent(Normal(some.z.mean(0), some.z.std(0)), 1)
    torch.testing.assert_close(nll(prior, some), -exact.log_prob(some.z))
    draws = prior(None).sample((4000,))
    within = 5 * some.z.std(0) / math.sqrt(4000)
    assert bool(((draws.mean(0) - some.z.mean(0)).abs() < within).all())


def test_one_code_is_too_few() -> None:
    with pytest.raises(InputError, match=r"too few codes \(1\) to fit a prior to"):
        Standardized(StandardNormal(CONTEXT)).standardize(clusters(1).z)


def test_a_prior_by_class_finds_the_mean_of_each_class() -> None:
    train, held_out = clusters(900), clusters(300)
    prior = Standardized(ClassMeans(CONTEXT))
    prior.standardize(train.z)
    before = float(nll_of_all(prior, held_out).mean())
    told: list[float] = []
    best = fit(prior, train, held_out, SETTINGS, lambda epoch, value: told.append(value))
    after = nll_of_all(prior, held_out)
    assert float(after.mean()) == min(told) == told[best] < before
    found = prior(torch.arange(3)).sample((2000,)).mean(0)
    expected = torch.stack([train.z[train.y == y].mean(0) for y in range(3)])
    torch.testing.assert_close(found, expected, atol=0.3, rtol=0)


def test_it_stops_where_held_out_codes_gain_no_more() -> None:
    train = clusters(64)
    elsewhere = Draws(train.z + 30, train.y)  # which better means of the training codes do not suit
    prior = Standardized(ClassMeans(CONTEXT))
    prior.standardize(train.z)
    epochs: list[int] = []
    settings = FitSettings(epochs=500, patience=3, lr=0.03, batch_size=64, seed=0)
    best = fit(prior, train, elsewhere, settings, lambda epoch, value: epochs.append(epoch))
    assert epochs[-1] == best + 3 < 500


def test_a_mixture_starts_where_gradients_find_little_more() -> None:
    train, held_out = clusters(3000), clusters(3000)
    prior = Standardized(ClassMixture(CONTEXT, components=1))
    prior.standardize(train.z)
    told: dict[int, float] = {}
    settings = FitSettings(epochs=2, patience=2, lr=0.003, batch_size=256, seed=0)
    best = fit(prior, train, held_out, settings, told.__setitem__)
    entropy = 1 + math.log(2 * math.pi)  # of two units of variance 1
    assert abs(told[0] - entropy) < 5 / math.sqrt(3000)  # the deviation of a code's NLL is 1
    assert min(told.values()) == told[best] > told[0] - 0.01


def test_a_start_that_held_out_codes_like_less_is_not_taken() -> None:
    train, held_out = clusters(40), clusters(500)
    elsewhere = Draws(train.z.flip(1) + 200, train.y)  # of which EM knows more than is good
    prior = Standardized(ClassMixture(CONTEXT, components=3))
    prior.standardize(held_out.z)
    before = float(nll_of_all(prior, held_out).mean())
    told: list[float] = []
    settings = FitSettings(epochs=1, patience=1, lr=1e-9, batch_size=64, seed=0)
    fit(prior, elsewhere, held_out, settings, lambda epoch, value: told.append(value))
    assert told[0] == before


def test_a_fit_that_diverges_is_told() -> None:
    train = clusters(64)
    with pytest.raises(InputError, match=r"infinite in epoch 1: try a smaller fit_prior\.lr"):
        fit(
            Standardized(ClassMeans(CONTEXT)), Draws(train.z * torch.nan, train.y), train,
            SETTINGS,
        )  # fmt: skip
    with pytest.raises(InputError, match="infinite from the start: the model's codes are no numb"):
        fit(Standardized(ClassMeans(CONTEXT)), train, Draws(train.z * torch.nan, train.y), SETTINGS)


def test_codes_are_draws_of_q_and_of_a_point_mass_its_values() -> None:
    model, data = vae(posterior=PointMass), [batch((1, 8, 8)), batch((1, 8, 8))]
    found = aggregate_draws(model, data, "train", seed=0)
    assert found.z.shape == (10, 4)
    torch.testing.assert_close(found.z[:5], model.encoder(data[0].x, None))
    assert found.y is not None
    assert found.y.tolist() == [*range(5)] * 2
    gaussian = vae()
    asked = [("train", 0), ("train", 0), ("train", 1), ("val", 0)]
    one, same, other, held_out = (aggregate_draws(gaussian, data, *key).z for key in asked)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, held_out)  # those that judge have noise of their own

"""Every part serves every other, on every shape; and the priors."""

from itertools import product

import pytest
import torch
from parts import DECODERS, ENCODERS, batch, vae

from vae_lab.config.allowed import check_parts
from vae_lab.errors import InputError
from vae_lab.estimators import Pathwise
from vae_lab.model.conditioning import Concat, FiLM, NoConditioning
from vae_lab.model.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    LearnedSigma,
)
from vae_lab.model.priors import ClassGaussian, ClassMeans, StandardNormal
from vae_lab.objectives import elbo
from vae_lab.trace import Batch


def gaussian(shape: tuple[int, ...]) -> Gaussian:
    return Gaussian(shape, LearnedSigma(0.2))


def mixture(shape: tuple[int, ...]) -> DiscretizedLogisticMixture:
    return DiscretizedLogisticMixture(shape, 3)


LIKELIHOODS = [Bernoulli, Categorical, ContinuousBernoulli, DiscretizedLogistic, mixture, gaussian]
IMAGES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]


@pytest.mark.parametrize("entry", [NoConditioning, Concat])
@pytest.mark.parametrize("prior", [StandardNormal, ClassMeans])
@pytest.mark.parametrize("shape", IMAGES)
def test_every_part_serves_every_other(
    shape: tuple[int, ...], prior: object, entry: object
) -> None:
    for encoder, decoder, likelihood in product(ENCODERS, DECODERS, LIKELIHOODS):
        model = vae(
            x_shape=shape, encoder=encoder, decoder=decoder, likelihood=likelihood, prior=prior,
            encoder_conditioning=entry, decoder_conditioning=entry,
        )  # fmt: skip
        data = batch(shape)
        trace = model(data, Pathwise(3).draw)
        assert trace.log_w.shape == (3, 5)
        assert trace.kl.shape == (1, 3, 5)
        (-elbo(trace).mean()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        assert model.sample(5, data.y).mean.shape == (5, *shape)
        assert model.reconstruct(data).mean.shape == (5, *shape)


@pytest.mark.parametrize("prior", [StandardNormal, ClassMeans, ClassGaussian])
@pytest.mark.parametrize("into_decoder", [NoConditioning, Concat, FiLM])
@pytest.mark.parametrize("into_encoder", [NoConditioning, Concat, FiLM])
def test_labels_enter_wherever_one_likes(
    into_encoder: object, into_decoder: object, prior: object
) -> None:
    model = vae(encoder_conditioning=into_encoder, decoder_conditioning=into_decoder, prior=prior)
    data = batch((1, 8, 8))
    (-elbo(model(data, Pathwise(2).draw)).mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    for part, kind in ((model.encoder, into_encoder), (model.decoder, into_decoder)):
        assert part.reads_labels == (kind is not NoConditioning)
    assert model.sample(5, data.y).mean.shape == (5, 1, 8, 8)
    assert model.reconstruct(data).mean.shape == (5, 1, 8, 8)


def test_whether_labels_are_read() -> None:
    assert not vae().reads_labels
    assert vae(encoder_conditioning=Concat).reads_labels
    assert vae(decoder_conditioning=Concat).reads_labels
    assert vae(prior=ClassMeans).reads_labels


def test_class_means_kl_is_the_formula() -> None:
    model = vae(prior=ClassMeans).double()
    data = batch((1, 8, 8))
    data = Batch(data.x.double(), data.y, data.index)
    latent = model(data, Pathwise(1).draw).latents[0]
    mu, sigma = latent.q.mean, latent.q.stddev
    mu_y = model.prior.mu[data.y]
    formula = 0.5 * ((mu - mu_y) ** 2 + sigma**2 - (sigma**2).log() - 1).sum(-1)
    assert latent.has_closed_form_kl
    torch.testing.assert_close(latent.kl[0], formula, rtol=0, atol=1e-12)


def test_a_class_is_drawn_by_moving_the_mean() -> None:
    model = vae(prior=ClassMeans)
    draws = []
    for y in (3, 7):
        torch.manual_seed(1)
        draws.append(model.p_z(torch.full((4,), y)).sample())
    shift = model.prior.mu[7] - model.prior.mu[3]
    torch.testing.assert_close(draws[1] - draws[0], shift.expand(4, 4).detach())


@pytest.mark.parametrize("z_shape", [(0,), (-2,), (), (4, 0), (2.5,)])
def test_latent_sizes_below_one_are_refused(z_shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="z_shape"):
        check_parts(
            {"_target_": "vae_lab.model.VAE", "_partial_": True, "z_shape": z_shape}, "model"
        )


def test_conditional_parts_refuse_data_without_classes() -> None:
    for part in (
        {"prior": ClassMeans},
        {"prior": ClassGaussian},
        {"decoder_conditioning": FiLM},
        {"encoder_conditioning": Concat},
        {"decoder_conditioning": Concat},
    ):
        with pytest.raises(InputError, match="labels"):
            vae(num_classes=None, **part)


def test_labels_are_checked() -> None:
    model = vae(prior=ClassMeans)
    for y in (None, torch.tensor([10]), torch.tensor([-1])):
        with pytest.raises(InputError, match="labels"):
            model.check_labels(y)
    model.check_labels(torch.tensor([0, 9]))
    vae().check_labels(None)

"""The prior with a Gaussian per class."""

import torch
from parts import batch, vae

from vae_lab.estimators import Pathwise
from vae_lab.model.priors import ClassGaussian
from vae_lab.trace import Batch


def test_every_class_starts_as_the_standard_normal() -> None:
    p = vae(prior=ClassGaussian, z_shape=(2, 3)).p_z(torch.tensor([0, 9]))
    assert p.batch_shape == (2,)
    assert p.event_shape == (2, 3)
    assert torch.equal(p.mean, torch.zeros(2, 2, 3))
    assert torch.equal(p.stddev, torch.ones(2, 2, 3))


def test_its_kl_is_the_formula() -> None:
    model = vae(prior=ClassGaussian).double()
    for parameter in model.prior.parameters():
        torch.nn.init.normal_(parameter)
    data = batch((1, 8, 8))
    data = Batch(data.x.double(), data.y, data.index)
    latent = model(data, Pathwise(1).draw).latents[0]
    mu, var = latent.q.mean, latent.q.variance
    mu_y, log_var = model.prior.mu[data.y], 14 * torch.tanh(model.prior.log_var[data.y] / 14)
    formula = 0.5 * (((mu - mu_y) ** 2 + var) / log_var.exp() + log_var - var.log() - 1).sum(-1)
    assert latent.has_closed_form_kl
    torch.testing.assert_close(latent.kl[0], formula, rtol=0, atol=1e-12)


def test_no_variance_overflows_or_loses_its_gradient() -> None:
    model = vae(prior=ClassGaussian)
    torch.nn.init.constant_(model.prior.log_var, 30.0)
    stddev = model.p_z(torch.arange(10)).stddev
    assert stddev.max() <= torch.tensor(7.0).exp()
    stddev.sum().backward()
    assert (model.prior.log_var.grad > 0).all()

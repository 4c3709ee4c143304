"""Priors that learn: densities, draws, and where they start."""

import copy
import math
import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from parts import batch, training, vae
from torch.distributions import Normal

from vae_lab import InputError
from vae_lab.estimators import Pathwise
from vae_lab.experiment.first_pass import first_pass
from vae_lab.model import VAE
from vae_lab.model.conditioning import Concat
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.posteriors import FlowPosterior, FullCovariance, UniformPosterior
from vae_lab.model.priors import FlowPrior, Mixture, Prior, VampPrior
from vae_lab.trace import Batch, Latent

mixture, vamp = partial(Mixture, components=4), partial(VampPrior, components=6)
flow = partial(FlowPrior, transforms=2, widths=[16])
PRIORS: list[Callable[[Context], Prior]] = [mixture, flow, vamp]


def test_distributions_of_others_are_validated_as_ever() -> None:
    with pytest.raises(ValueError, match="Expected parameter scale"):
        Normal(0.0, -1.0)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("z_shape", [(4,), (1,), (2, 3)])
def test_contract(prior: Callable[[Context], Prior], z_shape: tuple[int, ...]) -> None:
    model = vae(prior=prior, z_shape=z_shape)
    latent = model(batch((1, 8, 8)), Pathwise(3).draw).latents[0]
    assert (latent.p.batch_shape, latent.p.event_shape) == ((), z_shape)
    assert latent.kl.shape == (3, 5)
    assert not latent.has_closed_form_kl
    latent.log_ratio.sum().backward()
    for weight in model.prior.parameters():
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0
    assert model.sample(7, None).mean.shape == (7, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Latent(latent.z, latent.q, latent.p).log_ratio
    torch.testing.assert_close(found, latent.log_ratio, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("prior", PRIORS)
def test_a_prior_is_the_density_of_what_it_draws(prior: Callable[[Context], Prior]) -> None:
    """Of draws z ~ p, u(z) / p(z) has mean 1 for any density u within p's reach."""
    p = vae(prior=prior, z_shape=(2,)).double().p_z(None)
    z = p.sample((40_000,))
    u = diagonal_normal(z.mean(0), 0.7 * z.std(0), 1)
    ratio = (u.log_prob(z) - p.log_prob(z)).exp().detach()
    assert abs(float(ratio.mean()) - 1) < 5 * float(ratio.std()) / math.sqrt(len(z))


def test_a_mixture_is_the_mean_of_its_components() -> None:
    prior = Mixture(Context((1, 8, 8), None, (3,)), 4).double()
    with torch.no_grad():
        prior.logits.normal_()
        prior.log_sigma.normal_()
    z = torch.randn(7, 1, 3, dtype=torch.float64)
    sigma = 7 * torch.tanh(prior.log_sigma / 7)
    each = Normal(prior.mu, sigma.exp()).log_prob(z).sum(-1).exp()  # (7, 4)
    torch.testing.assert_close(prior(None).log_prob(z[:, 0]).exp(), each @ prior.logits.softmax(0))
    assert (prior.mu[:, None] - prior.mu).abs().sum(-1).fill_diagonal_(1).min() > 0.1  # unlike


# VampPrior


def started(model: VAE, data: Batch) -> VampPrior:
    """The model's VampPrior, begun from these data."""
    model.initialise(lambda n: data[slice(n)])
    assert isinstance(model.prior, VampPrior)
    return model.prior


def test_a_vamp_prior_is_the_mean_of_its_posteriors() -> None:
    model = vae(prior=vamp).double()
    prior, z = started(model, in_double(batch((1, 8, 8), 6))), torch.randn(7, 4).double()
    each = [model.q_z(u.sigmoid().unsqueeze(0), None).log_prob(z) for u in prior.logits]
    expected = torch.stack(each).logsumexp(0) - math.log(6)
    torch.testing.assert_close(model.p_z(None).log_prob(z), expected)


def in_double(data: Batch) -> Batch:
    return Batch(data.x.double(), data.y, data.index)


def test_pseudo_inputs_start_near_data_and_stay_images() -> None:
    data = batch((1, 8, 8), 4)  # fewer than there are components: some serve twice
    prior = started(vae(prior=vamp), data)
    inputs = prior.logits.sigmoid()
    torch.testing.assert_close(inputs, data.x[[0, 1, 2, 3, 0, 1]], rtol=0, atol=0.0501)
    assert ((inputs > 0) & (inputs < 1)).all()


def test_pseudo_inputs_keep_the_labels_of_their_data() -> None:
    model = vae(prior=vamp, encoder_conditioning=Concat)
    data = Batch(batch((1, 8, 8), 6).x, torch.tensor([7, 7, 2, 0, 9, 3]), torch.arange(6))
    prior = started(model, data)
    assert prior.y is not None
    assert prior.y.tolist() == [7, 7, 2, 0, 9, 3]
    assert "prior.y" in model.state_dict()
    z = torch.randn(3, 4)
    before = model.p_z(torch.arange(3)).log_prob(z)
    assert before.shape == (3,)
    prior.y[:] = 1
    assert not torch.allclose(model.p_z(None).log_prob(z), before)
    assert vae(prior=vamp, num_classes=None).prior.y is None


def test_a_vamp_prior_needs_an_encoder() -> None:
    with pytest.raises(InputError, match="learns with the one encoder that it is made of: say"):
        vamp(Context((1, 8, 8), None, (4,)))


@pytest.mark.parametrize(
    "posterior", [FullCovariance, partial(FlowPosterior, features=6, transforms=2, widths=[16])]
)
def test_a_vamp_prior_is_of_any_posterior_that_reaches_everywhere(
    posterior: Callable[..., object],
) -> None:
    module = training(prior=vamp, posterior=posterior)
    assert first_pass(module, batch((1, 8, 8))).log_w.isfinite().all()


def test_a_vamp_prior_of_boxes_is_refused() -> None:
    module = training(prior=vamp, posterior=UniformPosterior)
    with pytest.raises(InputError, match="the prior leaves out all but a part of z"):
        first_pass(module, batch((1, 8, 8)))


@pytest.mark.parametrize("prior", PRIORS)
def test_a_copy_encodes_with_weights_of_its_own(prior: Callable[[Context], Prior]) -> None:
    model, z = vae(prior=prior), torch.randn(3, 4)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), vae(prior=prior)):
        other.load_state_dict(model.state_dict())
        torch.testing.assert_close(other.p_z(None).log_prob(z), model.p_z(None).log_prob(z))
        with torch.no_grad():
            for weight in other.parameters():
                weight.add_(0.5)
        assert not torch.allclose(other.p_z(None).log_prob(z), model.p_z(None).log_prob(z))

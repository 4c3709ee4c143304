"""The autoregressive prior: masses that sum to 1, an order, draws, and where it starts."""

import math
from functools import partial

import pytest
import torch
from parts import batch, training, vae
from torch import Tensor

from vae_lab import InputError
from vae_lab.config.allowed import check_parts
from vae_lab.estimators import sampled
from vae_lab.experiment.first_pass import first_pass
from vae_lab.model import VAE
from vae_lab.model.posteriors import Categorical, FiniteScalar, VectorQuantised
from vae_lab.model.priors import AutoregressivePrior
from vae_lab.trace import Trace

SMALL = partial(AutoregressivePrior, width=32, layers=2)
POSTERIORS = {
    "vq": (partial(VectorQuantised, codes=5), (2, 4)),
    "fsq": (partial(FiniteScalar, levels=[3, 2]), (2, 4)),
    "one-hot": (Categorical, (4, 5)),
}


def model(kind: str = "vq", spread: float = 1.0) -> VAE:
    """With a prior over 4 positions that is not uniform any more."""
    posterior, z_shape = POSTERIORS[kind]
    found = vae(posterior=posterior, prior=SMALL, z_shape=z_shape)
    torch.nn.init.normal_(found.prior.last[1].weight, std=spread)
    return found


def every(codes: int) -> Tensor:
    """All z of 4 positions, as indices."""
    return torch.cartesian_prod(*[torch.arange(codes)] * 4)


@pytest.mark.parametrize("kind", POSTERIORS)
def test_masses_sum_to_one(kind: str) -> None:
    found = model(kind)
    z = found.posterior.codes_of(every(found.posterior.num_codes))
    log_p = found.p_z(None).log_prob(z).detach()
    assert log_p.std() > 0.1
    assert float(log_p.double().logsumexp(0)) == pytest.approx(0, abs=1e-5)


def test_it_starts_as_the_uniform_prior() -> None:
    found = vae(posterior=POSTERIORS["vq"][0], prior=SMALL, z_shape=(2, 4))
    log_p = found.p_z(None).log_prob(found.posterior.codes_of(every(5)))
    torch.testing.assert_close(log_p, torch.full_like(log_p, -4 * math.log(5)))


def test_no_position_is_told_by_itself_or_what_follows() -> None:
    prior = model().prior
    indices = torch.randint(5, (1, 4))
    logits = prior.logits(indices)
    for place in range(4):
        other = indices.clone()
        other[:, place] = (other[:, place] + 1) % 5
        moved = (prior.logits(other) - logits).abs().amax((0, 2)) > 1e-6
        assert moved.tolist() == [later > place for later in range(4)]
        torch.testing.assert_close(prior.logits(indices[:, : place + 1]), logits[:, : place + 1])


def test_draws_are_as_frequent_as_it_says() -> None:
    found = model(spread=0.3)
    n = 20_000
    indices = found.posterior.indices_of(found.p_z(None).sample((n,)))
    pairs = torch.bincount(5 * indices[:, 1] + indices[:, 3], minlength=25)  # of places 1 and 3
    p = found.p_z(None).log_prob(found.posterior.codes_of(every(5))).exp().detach()
    expected = n * p.reshape(5, 5, 5, 5).sum((0, 2)).flatten()
    chi_square = float(((pairs - expected).square() / expected).sum())
    assert chi_square < 24 + 5 * math.sqrt(2 * 24)
    uniform = float(((pairs - n / 25).square() / (n / 25)).sum())
    assert uniform > 10 * chi_square  # what another would be told by


def test_the_elbo_under_it_is_a_bound_that_enumeration_tells() -> None:
    found, data = model(spread=0.3), batch((1, 8, 8))
    trace: Trace = found(data, sampled(3))
    z = found.posterior.codes_of(every(5)).unsqueeze(1)
    log_joint = found.p_z(None).log_prob(z) + found.p_x(z, None).log_prob(data.x)
    elbo = trace.log_px - trace.kl.sum(0)
    assert (elbo < log_joint.logsumexp(0)).all()
    torch.testing.assert_close(trace.log_w, elbo, rtol=0, atol=1e-3)
    exact = log_joint[(every(5) == trace.latents[0].q.indices[:, None]).all(-1).nonzero()[:, 1]]
    torch.testing.assert_close(elbo[0], exact.diagonal(), rtol=0, atol=1e-3)


def test_it_learns_beside_the_model_too() -> None:
    posterior, z_shape = POSTERIORS["vq"]
    module = training(posterior=posterior, prior=SMALL, z_shape=z_shape)
    assert first_pass(module, batch((1, 8, 8))).latents[0].has_closed_form_kl
    assert not any(name.startswith("prior.of_codes") for name in module.model.state_dict())


def test_it_is_over_codes_alone() -> None:
    with pytest.raises(InputError, match="this prior is over codes, and z is none: say"):
        vae(prior=SMALL)
    node = {"_target_": "vae_lab.model.priors.AutoregressivePrior", "_partial_": True, "layers": 1}
    with pytest.raises(InputError, match=r"prior\.width must be .*divisible by 32, not 40"):
        check_parts({**node, "width": 40}, "model.prior", late=True)

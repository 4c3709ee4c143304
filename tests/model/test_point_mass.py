"""A point mass: every draw is its value, and there is no density."""

import torch
from torch.distributions import Independent, Normal

from vae_lab.model.distributions.delta import Delta
from vae_lab.model.posteriors import PointMass
from vae_lab.trace import Latent, Trace, centre, has_fixed_support, is_discrete


def test_every_draw_is_the_value_and_passes_its_gradient() -> None:
    params = torch.randn(5, 4, 3, requires_grad=True)
    q = PointMass((4, 3))(params)
    assert (q.batch_shape, q.event_shape) == ((5,), (4, 3))
    draws = q.rsample((2,))
    assert torch.equal(draws, params.expand(2, 5, 4, 3))
    draws.sum().backward()
    assert torch.equal(params.grad, torch.full_like(params, 2))
    assert torch.equal(centre(q), params)
    assert torch.equal(q.stddev, torch.zeros_like(params))
    assert q.expand((2, 5)).sample().shape == (2, 5, 4, 3)
    assert not q.sample().requires_grad


def test_it_has_all_mass_where_it_is_and_none_elsewhere() -> None:
    q = Delta(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 1)
    at = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert q.log_prob(at).tolist() == [torch.inf, -torch.inf]
    assert q.support.check(at).tolist() == [True, False]
    assert not has_fixed_support(q)
    assert not is_discrete(q)


def test_it_has_no_elbo_and_its_kl_is_known_to_be_infinite() -> None:
    value = torch.zeros(5, 3)
    prior = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    for q, exists in ((Delta(value, 1), False), (Independent(Normal(value, 1.0), 1), True)):
        latent = Latent(q.sample((2,)), q, prior)
        trace = Trace(value, None, Independent(Normal(torch.zeros(2, 5, 3), 1.0), 1), (latent,))
        assert trace.has_elbo == latent.has_density == exists
        assert latent.has_closed_form_kl
        assert bool(trace.kl.isfinite().all()) == exists
        assert bool(trace.log_w.isfinite().all()) == exists
        assert trace.kl.shape == (1, 2, 5)

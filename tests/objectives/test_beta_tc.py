"""beta-TC: the three parts of the KL, against a known aggregate posterior."""

from itertools import combinations

import pytest
import torch
from parts import exact_trace, gaussian_trace
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.objectives import BetaTC
from vae_lab.objectives.beta_tc import kl_parts
from vae_lab.trace import Latent

CONTEXT = Context((4,), None, (4,), num_data=50)


@pytest.mark.parametrize("num_data", [1, 2, 7, 60_000])
def test_the_parts_sum_to_the_kl(num_data: int) -> None:
    latent = gaussian_trace().latents[0]
    torch.testing.assert_close(sum(kl_parts(latent, num_data)), latent.log_ratio)


def test_of_the_whole_data_the_parts_are_those_of_the_aggregate_posterior() -> None:
    latent = gaussian_trace().latents[0]
    q, z = latent.q.base_dist, latent.z
    even = Categorical(logits=torch.zeros(7).double())
    log_q_z = MixtureSameFamily(even, latent.q).log_prob(z)
    units = Categorical(logits=torch.zeros(4, 7).double())
    each = MixtureSameFamily(units, Normal(q.loc.T, q.scale.T)).log_prob(z)  # (S, B, units)
    mi, tc, dimension_wise = kl_parts(latent, num_data=7)
    torch.testing.assert_close(mi, latent.q.log_prob(z) - log_q_z)
    torch.testing.assert_close(tc, log_q_z - each.sum(-1))
    torch.testing.assert_close(dimension_wise, each.sum(-1) - latent.p.log_prob(z))


def some(latent: Latent, data: list[int]) -> Latent:
    q = latent.q.base_dist
    return Latent(
        latent.z[:, data], Independent(Normal(q.loc[data], q.scale[data]), 1), latent.p
    )  # fmt: skip


def test_batches_of_any_size_estimate_the_aggregate_density_without_bias() -> None:
    """Over all batches that hold the datum z was drawn for: stratified sampling's property."""
    latent = gaussian_trace().latents[0]

    def density(data: list[int]) -> Tensor:  # q(z) of the first one's draws, (S,)
        one = some(latent, data)
        return (one.q.log_prob(one.z) - kl_parts(one, num_data=7).index_code_mi)[:, 0].exp()

    exact = density(list(range(7)))
    for size in (2, 3, 5):
        found = [density([0, *others]) for others in combinations(range(1, 7), size - 1)]
        torch.testing.assert_close(torch.stack(found).mean(0), exact)
        assert not torch.allclose(found[0], exact)


def test_posteriors_that_are_all_alike_carry_nothing() -> None:
    latent = gaussian_trace(mean=torch.ones(7, 4), scale=torch.full((7, 4), 0.5)).latents[0]
    mi, tc, dimension_wise = kl_parts(latent, num_data=1000)
    torch.testing.assert_close(mi, torch.zeros_like(mi))
    torch.testing.assert_close(tc, torch.zeros_like(tc))
    torch.testing.assert_close(dimension_wise, latent.log_ratio)


def test_each_part_has_its_weight() -> None:
    trace = gaussian_trace()
    parts = kl_parts(trace.latents[0], 50)
    plain = BetaTC(CONTEXT, 1.0, 1.0, 1.0).values(trace, torch.tensor(0.0))
    for k, part in enumerate(parts):
        weights = [1.0, 1.0, 1.0]
        weights[k] = 3.0
        values = BetaTC(CONTEXT, *weights).values(trace, torch.tensor(0.0))
        torch.testing.assert_close(plain - values, 2 * part)
    assert BetaTC(CONTEXT, 1.0, 6.0, 1.0).describe() == "beta-TC: 1 MI, 6 TC, 1 dimension-wise KL"
    assert "no bound" in BetaTC(CONTEXT, 0.0, 6.0, 1.0).describe()


def test_what_it_cannot_take_apart_is_refused() -> None:
    objective, now = BetaTC(CONTEXT, 1.0, 6.0, 1.0), torch.tensor(0.0)
    with pytest.raises(InputError, match="model/posterior=diagonal_gaussian"):
        objective(exact_trace()[0], now)
    trace = gaussian_trace()
    latent = trace.latents[0]
    conditional = Latent(latent.z, latent.q, latent.q)  # a p of its own for every datum
    with pytest.raises(InputError, match="model/prior=standard_normal"):
        objective(type(trace)(trace.x, None, trace.p_x, (conditional,)), now)
    with pytest.raises(InputError, match="one latent layer"):
        objective(type(trace)(trace.x, None, trace.p_x, (latent, latent)), now)

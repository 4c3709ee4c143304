"""Objectives that hold the KL: free bits of a unit and in total, controlled capacity."""

from math import inf

import pytest
import torch
from parts import exact_trace, gaussian_trace

from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.objectives import Capacity, Constant, FreeBits, FreeBitsTotal, LinearWarmup

CONTEXT = Context((6,), None, (2,))
REST = torch.tensor(inf)
MEAN = torch.tensor([[0.0, 2.0], [0.6, 4.0]])
KL = torch.tensor([0.09, 5.0])  # the batch's mean, of each unit: mean^2 / 2 where the scale is 1


def test_each_unit_costs_at_least_its_free_nats() -> None:
    trace = gaussian_trace(mean=MEAN, scale=torch.ones(2, 2))
    assert trace.latents[0].kl_per_unit is not None
    torch.testing.assert_close(trace.latents[0].kl_per_unit.mean((0, 1)), KL.double())
    for nats, paid in ((0.05, 5.09), (0.2, 5.2), (6.0, 12.0)):
        cost = FreeBits(CONTEXT, Constant(), nats).penalty(trace)
        torch.testing.assert_close(cost.mean(), torch.tensor(paid).double())
        total = FreeBitsTotal(CONTEXT, Constant(), nats).penalty(trace)
        torch.testing.assert_close(total.mean(), torch.tensor(max(nats, 5.09)).double())


def test_what_is_free_is_not_pulled_to_the_prior() -> None:
    mean = MEAN.double().requires_grad_()
    cost = FreeBits(CONTEXT, Constant(), 0.2).penalty(gaussian_trace(3, mean, torch.ones(2, 2)))
    cost.mean().backward()
    assert mean.grad is not None
    torch.testing.assert_close(mean.grad, torch.stack([torch.zeros(2), MEAN[:, 1] / 2], 1).double())


@pytest.mark.parametrize("kind", [FreeBits, FreeBitsTotal])
def test_free_bits_follow_the_schedule_of_beta(kind: type[FreeBits] | type[FreeBitsTotal]) -> None:
    objective, trace = kind(CONTEXT, LinearWarmup(10), 0.5), gaussian_trace()
    half = trace.log_px - objective.penalty(trace) / 2
    torch.testing.assert_close(objective.values(trace, torch.tensor(5.0)), half)
    assert objective.warmup_epochs == 10
    assert "0.5 free nats" in objective.describe()
    assert "over 10 epochs" in objective.describe()
    assert "no bound" not in objective.describe()
    assert "no bound" in kind(CONTEXT, Constant(0.5), 0.5).describe()


def test_a_kl_that_is_no_sum_over_units_has_free_nats_in_total_alone() -> None:
    trace, _ = exact_trace()
    with pytest.raises(InputError, match="objective=free_bits_total"):
        FreeBits(CONTEXT, Constant(), 0.1)(trace, REST)
    FreeBitsTotal(CONTEXT, Constant(), 0.1)(trace, REST)


def test_capacity_holds_the_rate_from_both_sides() -> None:
    trace = gaussian_trace(mean=MEAN, scale=torch.ones(2, 2))
    objective = Capacity(CONTEXT, nats=8.0, epochs=4.0, gamma=3.0)
    for epoch, distance in ((0.0, 5.09), (2.0, 1.09), (4.0, 2.91), (9.0, 2.91), (inf, 2.91)):
        values = objective.values(trace, torch.tensor(epoch).double())
        torch.testing.assert_close(trace.log_px - values, torch.full((3, 2), 3 * distance).double())
    assert objective.warmup_epochs == 4
    assert "no bound" in objective.describe()
    assert Capacity(CONTEXT, 0.0, 4.0, 1.0).describe() == ""
    assert Capacity(CONTEXT, 0.0, 4.0, 1.0).warmup_epochs == 0

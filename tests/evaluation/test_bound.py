"""The bound at each number of draws, told from all the draws there are."""

import math

import pytest
import torch
from test_evaluation import ExactModel, data_of

from vae_lab.evaluation.bound import GroupedBound, bound, draw_counts
from vae_lab.evaluation.evidence import evidence
from vae_lab.evaluation.statistics import Estimate, mean_estimate


def test_sums_of_groups_are_those_of_all_weights_at_once_in_whatever_chunks() -> None:
    log_w = 5 * torch.randn(47, 6, dtype=torch.float64)
    for k in (1, 2, 5, 20, 46, 47):
        groups = log_w[: 47 // k * k].unflatten(0, (-1, k))
        expected = groups.exp().mean(1).log().mean(0)
        for chunk in (1, 3, 7, 20, 47):
            found = GroupedBound(k)
            for part in log_w.split(chunk):
                found.add(part)
            torch.testing.assert_close(found.mean, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("memory_mib", [1e-6, 100])
def test_it_begins_at_the_elbo_rises_and_ends_at_the_nll(memory_mib: float) -> None:
    model, k = ExactModel(widen=2.0), 50
    data = data_of(model, 200)
    (found,) = evidence(model, [data], k, memory_mib, seed=0)
    counts = draw_counts(k)
    assert counts == [1, 2, 5, 10, 20, 50]
    torch.testing.assert_close(found.bounds[:, -1], found.log_px, rtol=0, atol=1e-10)
    # One knows its KL in closed form, the other estimates it from the same draws.
    apart = mean_estimate(found.bounds[:, 0] - found.elbo, "nats")
    assert apart.standard_error is not None
    assert apart.value == pytest.approx(0, abs=4 * apart.standard_error)
    rises = found.bounds.diff(dim=1)
    assert (rises.mean(0) > 0).all()  # by Jensen's inequality, whatever the draws
    # With one draw, log w falls short of log p(x) by KL(q || p(z|x)), for Gaussians known.
    d, c = 3, 2.0
    short = mean_estimate(model.exact.log_evidence(data.x) - found.bounds[:, 0], "nats")
    assert short.standard_error is not None
    expected = d / 2 * (c - 1 - math.log(c))
    assert short.value == pytest.approx(expected, abs=4 * short.standard_error)


def test_the_picture_shows_each_number_of_draws() -> None:
    axes = bound({1: Estimate(-3.0, 0.1, "nats"), 10: Estimate(-2.0, None, "nats")}).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[1, -3], [10, -2]]
    assert axes.get_xscale() == "log"

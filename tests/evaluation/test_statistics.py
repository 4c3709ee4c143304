"""Estimates over a test set."""

import torch

from vae_lab.evaluation.statistics import far_out


def test_items_that_make_a_mean_by_themselves_are_told_of() -> None:
    nats = 90 + 10 * torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert far_out(nats) == ""
    shifted = nats.clone()
    shifted[[7, 500]] = torch.tensor([42_000.0, 23_700.0])
    others = float(nats[torch.arange(10_000) != 7].mean())
    told = far_out(shifted)
    assert told.startswith("2 of 10000 items lie far out, at 23,700 nats or more, and make much")
    assert abs(float(told.split()[-1].rstrip(".")) - others) < 0.02


def test_one_item_or_equal_ones_are_no_outliers() -> None:
    assert far_out(torch.tensor([5.0])) == far_out(torch.full((9,), 5.0)) == ""

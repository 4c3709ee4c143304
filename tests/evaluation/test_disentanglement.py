"""MIG and DCI of codes of which it is known how they were made from the factors."""

import math

import pytest
import torch
from torch import Tensor

from vae_lab.evaluation.disentanglement import dci, mutual_information_gap

N = 2000


def factors(n: int = N, seed: int = 0) -> Tensor:
    """A class of ten, and three values of a continuum, (n, 4)."""
    random = torch.Generator().manual_seed(seed)
    classes = torch.randint(10, (n, 1), generator=random)
    return torch.cat([classes, torch.rand(n, 3, generator=random, dtype=torch.float64)], 1)


def standardised(v: Tensor) -> Tensor:
    return (v - v.mean(0)) / v.std(0)


def rotated(v: Tensor) -> Tensor:
    """Four units, to each of which all four factors contribute alike: a Hadamard matrix."""
    two = torch.tensor([[1.0, 1], [1, -1]], dtype=v.dtype)
    return standardised(v) @ torch.kron(two, two) / 2


def noise(n: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=random, dtype=torch.float64)


def dci_of(codes: Tensor, v: Tensor) -> dict[str, float]:
    half = N // 2
    found = dci(codes[:half], v[:half], codes[half:], v[half:], seed=0)
    assert all(estimate.standard_error is None for estimate in found.values())
    return {name.removeprefix("dci_"): estimate.value for name, estimate in found.items()}


def test_codes_that_are_the_factors_are_disentangled() -> None:
    v = factors()
    codes = torch.cat([-3 * v, noise(N, 1)], 1)  # and four units that say nothing
    gap = mutual_information_gap(codes, v, seed=0)
    assert gap.value > 0.85  # equal widths and equal counts part a continuum alike but for chance
    assert mutual_information_gap(codes, v[:, :1], seed=0).value > 0.96
    assert gap.standard_error is not None
    assert gap.standard_error < 0.02
    found = dci_of(codes, v)
    assert min(found.values()) > 0.95


def test_a_twin_of_every_unit_leaves_no_gap_and_half_the_completeness() -> None:
    v = factors()
    codes = torch.cat([v, v + 1e-3 * noise(N, 1)], 1)
    assert mutual_information_gap(codes, v, seed=0).value < 0.05
    found = dci_of(codes, v)
    assert found["disentanglement"] > 0.95
    assert found["completeness"] == pytest.approx(1 - math.log(2) / math.log(8), abs=0.05)
    assert found["informativeness"] > 0.95


def test_mixed_codes_know_the_factors_but_not_one_by_one() -> None:
    v = factors()
    assert mutual_information_gap(rotated(v), v, seed=0).value < 0.02
    found = dci_of(rotated(v), v)
    assert found["disentanglement"] < 0.05
    assert found["completeness"] < 0.05
    assert found["informativeness"] > 0.6


def test_codes_that_say_nothing_score_nothing() -> None:
    v = factors()
    gap = mutual_information_gap(noise(N, 1), v, seed=0)
    assert gap.value < 0.02
    found = dci_of(noise(N, 1), v)
    assert found["disentanglement"] < 0.05
    assert found["completeness"] < 0.05
    assert abs(found["informativeness"]) < 0.1


def test_the_gap_is_the_share_of_the_entropy_that_the_best_unit_alone_knows() -> None:
    # Of 16 values that are all as frequent, one unit tells 8 apart, another 2.
    v = torch.arange(16).repeat(100).unsqueeze(1)
    codes = torch.cat([v // 2, v // 8, torch.zeros_like(v)], 1).double()
    expected = (math.log(8) - math.log(2)) / math.log(16)
    assert mutual_information_gap(codes, v, 0).value == pytest.approx(expected, abs=1e-5)
    assert mutual_information_gap(codes[:, :1], v, 0).value == pytest.approx(3 / 4, abs=1e-5)


def test_the_error_of_the_gap_is_its_spread_over_other_data() -> None:
    found = [
        mutual_information_gap(
            (v := factors(400, seed)) + 0.3 * standardised(noise(400, seed)), v, seed
        )
        for seed in range(20)
    ]
    spread = float(torch.tensor([gap.value for gap in found]).std())
    errors = [gap.standard_error for gap in found]
    assert None not in errors
    mean = sum(error for error in errors if error) / len(errors)
    assert mean == pytest.approx(spread, rel=0.6)  # of 20, the spread is known within 16 %

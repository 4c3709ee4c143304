"""Streams of noise: the same for the same purpose, and no two alike."""

import pytest
import torch

from vae_lab.seeding import derive_seed, reseed, seeded_generator

ALIKE = 28587, 176850
"""Of the steps of (0, "noise", step), the first two whose seeds have the same low 32 bits."""


def test_seeds_alike_in_their_low_32_bits_give_different_noise() -> None:
    one, other = (derive_seed(0, "noise", step) for step in ALIKE)
    assert one != other
    assert one % 2**32 == other % 2**32  # all that the CPU's manual_seed reads
    drawn, reseeded = [], []
    for step in ALIKE:
        drawn.append(torch.randn(100, generator=seeded_generator(0, "noise", step)))
        reseed(torch.device("cpu"), 0, "noise", step)
        reseeded.append(torch.randn(100))
    assert not (drawn[0] == drawn[1]).any()
    assert torch.equal(drawn[0], reseeded[0])  # the two doors lead to one stream
    assert torch.equal(drawn[1], reseeded[1])


def test_a_stream_is_a_function_of_its_purpose() -> None:
    reseed(torch.device("cpu"), 0, "noise")
    first = torch.randn(3)  # an odd number: normal draws come in pairs, and one is left over
    reseed(torch.device("cpu"), 0, "noise")
    assert torch.equal(torch.randn(3), first)


@pytest.mark.parametrize("moment", [1, 2])
def test_first_draws_of_many_streams_are_standard_normal(moment: int) -> None:
    count = 4000
    z = torch.stack([torch.randn(1, generator=seeded_generator(0, "z", n)) for n in range(count)])
    error = (1 if moment == 1 else 2**0.5) / count**0.5
    assert abs(float((z**moment).mean()) - (moment - 1)) < 4 * error

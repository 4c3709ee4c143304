"""Stateless randomness: every stream is a function of what it is for, so nothing needs saving."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from vae_lab.arguments import Natural, checked

_FRESH = torch.Generator().get_state()
_WORDS = _FRESH.numpy()[24 : 24 + 8 * 624].view(np.uint64)
"""A CPU generator's state before its first draw, and in it the 624 words that all draws follow."""


def derive_seed(*parts: int | str) -> int:
    """A seed that is a hash of `parts`, such as (seed, "noise", epoch, batch, rank).

    >>> derive_seed(0, "noise", 1) == derive_seed(0, "noise", 1) != derive_seed(0, "noise", 2)
    True
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def seeded_generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on `device`, whose stream is a hash of `parts`."""
    generator = torch.Generator(device)
    _seed(generator, *parts)
    return generator


def reseed(device: torch.device, *parts: int | str) -> None:
    """Let the streams of torch's own generators for work on `device` be hashes of `parts`.

    As `torch.manual_seed`, which spends 2 ms a call on devices that are not there.
    """
    _seed(torch.default_generator, *parts)
    if device.type == "cuda":
        torch.cuda.manual_seed(derive_seed(*parts))


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw from `seed` within, and leave torch's generators as they were; None changes nothing.

    Raises InputError for a seed that is no whole number from 0 on.
    """
    seed = checked("seed", seed, Natural | None)
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _seed(generator: torch.Generator, *parts: int | str) -> None:
    """On the CPU, fill the whole state: `manual_seed` takes 32 bits there, and 64 on a GPU."""
    if generator.device.type == "cpu":
        digest = hashlib.shake_128(repr(parts).encode()).digest(4 * 624)
        _WORDS[:] = np.frombuffer(digest, "<u4")
        generator.set_state(_FRESH)
    else:
        generator.manual_seed(derive_seed(*parts))

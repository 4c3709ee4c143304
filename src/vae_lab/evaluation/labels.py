"""Does a conditional model use its labels? What it loses where they are wrong says so."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from vae_lab.seeding import seeded_generator
from vae_lab.trace import Batch


def with_shuffled_labels(batches: Iterable[Batch], labels: Tensor, seed: int) -> Iterator[Batch]:
    """The same batches with `labels`, (N,), those of all items in order, permuted among them.

    A model that reads its labels must do worse.
    """
    order = torch.randperm(len(labels), generator=seeded_generator(seed, "shuffle"))
    shuffled, start = labels[order], 0
    for batch in batches:
        stop = start + len(batch.x)
        yield replace(batch, y=shuffled[start:stop].to(batch.x.device))
        start = stop

"""Run by torchrun in test_codebooks: each process sees its half of every batch.

Each rank writes the codebook after every step to RANK.pt in the folder given, with and without
codes that begin anew.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, distributed

from vae_lab.model.posteriors import VectorQuantised

RESTARTS = (0.0, 0.05)


def steps() -> Iterator[Tensor]:
    """What an encoder says of the whole batches, (N, D, M)."""
    random = torch.Generator().manual_seed(0)
    for _ in range(5):
        yield 3 + torch.randn(40, 2, 3, generator=random, dtype=torch.float64)


def codebooks(restart: float, rank: int, share: slice) -> Tensor:
    """After every step that sees its share of the batch; each rank has noise of its own."""
    torch.manual_seed(0)
    family = VectorQuantised((2, 3), codes=6, decay=0.8, restart=restart).double()
    torch.manual_seed(rank)
    found = []
    for outputs in steps():
        q = family(outputs[share])
        family.observe(q.sample(), q)
        found.append(family.codebook.clone())
    return torch.stack(found)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    found = {restart: codebooks(restart, rank, slice(rank, None, 2)) for restart in RESTARTS}
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

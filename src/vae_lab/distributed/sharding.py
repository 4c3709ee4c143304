"""Weights that FSDP has shared out over processes."""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel


@contextmanager
def full_weights(trainer: Trainer) -> Iterator[None]:
    """Within, each process has all weights, for work outside of a step. Every process must enter.

    Does nothing where weights are whole anyway.
    """
    if not isinstance(trainer.strategy, FSDPStrategy):
        yield
        return
    assert trainer.strategy.model is not None
    with FullyShardedDataParallel.summon_full_params(trainer.strategy.model, writeback=False):
        yield

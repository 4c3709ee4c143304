"""Learning rates that follow the whole training, step by step."""

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import Annotated, Any

from annotated_types import Ge, Lt
from lightning.pytorch import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class PerStep(LRScheduler, ABC):
    """A learning rate that is a function of how much of the training lies behind.

    It is set anew after every optimiser step, for each parameter group from that group's own rate.
    A run that goes on with another length is at once where that length has it.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        """`optimizer` is the one whose rates it scales; the length of the training comes later."""
        self.num_steps = math.inf
        super().__init__(optimizer)

    @abstractmethod
    def factor(self, progress: float) -> float:
        """What multiplies the rate; `progress` is 0 at the first step, and 1 past the last."""

    def spread_over(self, num_steps: float) -> None:
        """Take as long as the training: so many optimiser steps, some of which may lie behind."""
        self.num_steps = num_steps
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate

    def get_lr(self) -> list[Any]:
        factor = self.factor(min(self.last_epoch / self.num_steps, 1.0))
        return [rate * factor for rate in self.base_lrs]


def is_per_step(scheduler: object) -> bool:
    """Whether a scheduler that lacks only its optimiser is a `PerStep`."""
    kind = scheduler.func if isinstance(scheduler, partial) else None
    return isinstance(kind, type) and issubclass(kind, PerStep)


def steps_in_all(trainer: Trainer) -> float:
    """How many optimiser steps there will have been when training ends, once it has begun.

    A run that goes on after a limit had ended it within an epoch begins with the next epoch: what
    it skips is not counted.
    """
    if trainer.max_epochs in (None, -1):
        return trainer.estimated_stepping_batches
    accumulated, loop = trainer.accumulate_grad_batches, trainer.fit_loop
    per_epoch = math.ceil(trainer.num_training_batches / accumulated)
    is_within = loop.epoch_progress.current.ready > loop.epoch_progress.current.completed
    taken = math.ceil(loop.epoch_loop.batch_progress.current.ready / accumulated) * is_within
    left = (trainer.max_epochs - trainer.current_epoch) * per_epoch - taken
    limit = math.inf if trainer.max_steps == -1 else trainer.max_steps
    return min(trainer.global_step + left, limit)


class HoldThenLinear(PerStep):
    """The rate is held, and then falls linearly to 0, which it reaches as training ends.

    A constant rate with a cooldown: Haegele, Bakouch, Kosson, Ben Allal, Von Werra and Jaggi,
    Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations, 2024
    (https://arxiv.org/abs/2405.18392).
    """

    def __init__(self, optimizer: Optimizer, hold: Annotated[float, Ge(0), Lt(1)] = 0.5) -> None:
        """`hold` is the share of the training before the rate falls."""
        self.hold = hold
        super().__init__(optimizer)

    def factor(self, progress: float) -> float:
        return min(1.0, (1 - progress) / (1 - self.hold))

"""Averaged weights: what is validated, selected, tested and kept, while others are trained."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Annotated

from annotated_types import Ge, Lt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch import callbacks as lightning
from torch import Tensor


class WeightAverage(lightning.WeightAveraging):
    """An exponential moving average of the weights, moved after every optimiser step.

    After t steps it decays by (1 + t) / (10 + t), until that reaches `decay`: the weights that
    training began with leave it soon, and a short run's average is no half-trained model. It is one
    of about the latest tenth of the steps, and in the long run of the latest 1 / (1 - decay).

    Averaging and a learning rate that falls to 0 both take out the noise of the steps: beside
    `scheduler=hold_then_linear` an average has less to gain than beside a constant rate.

    Validation, figures, the test and every checkpoint's `state_dict` have the averaged weights; a
    checkpoint keeps those that training goes on from under `current_model_state`. Buffers, such as
    a sigma in closed form, are not averaged: they are the training's own.
    """

    def __init__(self, decay: Annotated[float, Ge(0), Lt(1)] = 0.999) -> None:
        """`decay` is per optimiser step, in the long run."""
        super().__init__(use_buffers=False, avg_fn=partial(moved, decay))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._average_model is not None
        self._average_model.module.to(pl_module.device)  # it was copied before the move

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_buffers(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_buffers(pl_module)  # what was fitted after the last step, before it is saved
        super().on_train_epoch_end(trainer, pl_module)

    @contextmanager
    def shown(self, pl_module: LightningModule) -> Iterator[None]:
        """Within, the module has the averaged weights."""
        self._take_buffers(pl_module)
        self._swap_models(pl_module)
        try:
            yield
        finally:
            self._swap_models(pl_module)

    def _take_buffers(self, pl_module: LightningModule) -> None:
        if self._average_model is not None:
            buffers = zip(self._average_model.module.buffers(), pl_module.buffers(), strict=True)
            for average, current in buffers:
                average.copy_(current)


def moved(decay: float, average: Tensor, current: Tensor, steps: Tensor) -> Tensor:
    """The average of a weight after one more step; `steps`, a scalar, are those within it."""
    kept = ((1 + steps) / (10 + steps)).clamp(max=decay)
    return kept * average + (1 - kept) * current


@contextmanager
def averaged_weights(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Within, the module has the averaged weights, if training keeps any."""
    with ExitStack() as stack:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, WeightAverage):
                stack.enter_context(callback.shown(module))
        yield

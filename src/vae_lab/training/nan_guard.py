"""A stop at the first loss that is not finite."""

import torch
from torch import Tensor

from vae_lab.errors import InputError


class NaNGuard:
    """Remembers the first step whose value is not finite, and stops training for it when asked.

    Noting computes nothing; asking reads from the device, and so is done now and then.
    """

    def __init__(self, ignores_steps: bool = False, stops: bool = True) -> None:
        """Choose what is watched.

        Args:
            ignores_steps: Pass over the losses of single training steps, where such steps are left
                out by themselves; what the weights give after an epoch is watched all the same.
            stops: Whether to stop at all; a search for a learning rate goes on.
        """
        self.ignores_steps, self.stops = ignores_steps, stops
        self._noted: list[tuple[Tensor, int]] = []  # values, and their steps, since the last check

    def note_step(self, loss: Tensor, step: int) -> None:
        """Note the loss of a training step, a scalar."""
        if not self.ignores_steps:
            self.note(loss, step)

    def note(self, value: Tensor, step: int) -> None:
        """Note a value, a scalar, that the weights give at this step."""
        self._noted.append((value.detach(), step))

    def check(self, epoch: int) -> None:
        """Raises NonFiniteLossError if a value was not finite. `epoch`, from 0, is under way."""
        if not self._noted:
            return
        values, steps = zip(*self._noted, strict=True)
        finite = torch.stack(values).isfinite().tolist()
        self._noted.clear()
        if self.stops and not all(finite):
            raise NonFiniteLossError(steps[finite.index(False)], epoch)


class NonFiniteLossError(InputError):
    """The loss became NaN or infinite; training stopped with its last good checkpoint intact."""

    def __init__(self, step: int, epoch: int) -> None:
        super().__init__(
            f"the loss became NaN or infinite at step {step} (epoch {epoch + 1}). The last good "
            "checkpoint, if an epoch had ended, is kept; try a smaller optimizer.lr, or "
            "trainer.gradient_clip_val=1."
        )

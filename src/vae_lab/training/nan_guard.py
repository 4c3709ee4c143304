"""A stop at the first loss that is not finite."""

import torch
from torch import Tensor

from vae_lab.errors import InputError


class NaNGuard:
    """Remembers the first step whose value is not finite, and stops training for it when asked.

    Noting costs nothing on a GPU; asking reads from the device, and so is done now and then.
    """

    def __init__(self, ignores_steps: bool = False, stops: bool = True) -> None:
        """Choose what is watched.

        Args:
            ignores_steps: Pass over the losses of single training steps, where such steps are left
                out by themselves; what the weights give after an epoch is watched all the same.
            stops: Whether to stop at all; a search for a learning rate goes on.
        """
        self.ignores_steps, self.stops = ignores_steps, stops
        self.first_bad_step = torch.tensor(-1)

    def note_step(self, loss: Tensor, step: int) -> None:
        """Note the loss of a training step, a scalar."""
        if not self.ignores_steps:
            self.note(loss, step)

    def note(self, value: Tensor, step: int) -> None:
        """Note a value, a scalar, that the weights give at this step."""
        bad = ~value.detach().isfinite()
        before = self.first_bad_step.to(bad.device)
        self.first_bad_step = torch.where((before < 0) & bad, step, before)

    def check(self, epoch: int) -> None:
        """Raises NonFiniteLossError if a value was not finite. `epoch`, from 0, is under way."""
        if self.stops and (step := int(self.first_bad_step)) >= 0:
            raise NonFiniteLossError(step, epoch)


class NonFiniteLossError(InputError):
    """The loss became NaN or infinite; training stopped with its last good checkpoint intact."""

    def __init__(self, step: int, epoch: int) -> None:
        super().__init__(
            f"the loss became NaN or infinite at step {step} (epoch {epoch + 1}). The last good "
            "checkpoint, if an epoch had ended, is kept; try a smaller optimizer.lr, or "
            "trainer.gradient_clip_val=1."
        )

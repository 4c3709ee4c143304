"""Steps that are not taken: those whose gradient is not finite, or far too large."""

import math
from collections import deque
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from vae_lab.arguments import Positive
from vae_lab.errors import InputError

WINDOW = 100
"""Steps over which it is judged whether training stands still."""


class GradientSkip(Callback):
    """Skips an optimiser step whose gradient's total norm is above a threshold, or not finite.

    Neither the weights nor the optimiser's state move then. The norm is that before clipping. It
    costs one read from the device a step. All processes decide alike.

    Child, Very Deep VAEs, 2021 (https://arxiv.org/abs/2011.10650).
    """

    def __init__(self, above: Positive | None = None) -> None:
        """`above` is the largest norm that is followed; None: any that is finite."""
        self.above = math.inf if above is None else float(above)
        self.skipped = 0
        self.norms: deque[float] = deque(maxlen=WINDOW)  # of the latest steps

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = float(trainer.strategy.reduce(get_total_norm(gradients)))
        self.norms.append(norm)
        if self._is_bad(norm):
            optimizer.zero_grad(set_to_none=True)  # torch's optimisers pass over what has none
            self.skipped += 1
            if len(self.norms) == WINDOW:
                self._alarm()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        count = torch.tensor(float(self.skipped), device=pl_module.device)
        pl_module.log("train/skipped_steps", count, sync_dist=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._alarm()

    def _is_bad(self, norm: float) -> bool:
        return not math.isfinite(norm) or norm > self.above

    def _alarm(self) -> None:
        """Raises InputError if nearly all of the latest steps were skipped."""
        skipped = sum(map(self._is_bad, self.norms))
        if skipped <= 0.9 * len(self.norms):
            return
        finite = [norm for norm in self.norms if math.isfinite(norm)]
        seen, fix = "no gradient there is finite", "lower optimizer.lr"
        if finite:
            low, middle, high = min(finite), median(finite), max(finite)
            seen = f"gradient norms there are {low:.3g} to {high:.3g}, typically {middle:.3g}"
        if finite and math.isfinite(self.above):
            fix = f"raise gradient_skip.above, which is {self.above:g}"
        raise InputError(
            f"gradient_skip skipped {skipped} of the last {len(self.norms)} steps, so training "
            f"stands still: {seen}; {fix}."
        )

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "norms": list(self.norms)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = state_dict["skipped"]
        self.norms.extend(state_dict["norms"])

"""Run alone, and by torchrun in test_distributed: one step in float64, and the gradient it made.

Of each objective, since processes take long to start.

The noise of an item is fixed: it is handed in through the draw, whichever process meets the item.
Each rank writes its gradients, by objective, to RANK.pt in the folder given.
"""

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from parts import datamodule, training
from torch.distributions import Distribution

from vae_lab.data import Digits
from vae_lab.estimators import Pathwise
from vae_lab.model import LatentVariableModel
from vae_lab.model.likelihoods import BernoulliGrey
from vae_lab.model.networks import ConvEncoder
from vae_lab.objectives import ELBO, IWAE, Adversarial, Constant
from vae_lab.support import Support
from vae_lab.trace import Batch, Latent
from vae_lab.training.module import VAEModule

OBJECTIVES = {
    "elbo": partial(ELBO, beta=Constant(0.5)),
    "iwae": IWAE,
    "adversary": partial(
        Adversarial, beta=Constant(), network=partial(ConvEncoder, channels=[4], widths=[]),
        features=8, weight=0.5, matching=1.0, perceptual=0.0, samples=False, start_epoch=-1,
        ramp_epochs=1, lr=1e-3,
    ),  # at its full weight in the first step
}  # fmt: skip
WHOLE = 32  # items of one step, over all processes


class FixedDraw(Pathwise):
    """z = mean + stddev * noise, with the noise of each item given."""

    index: torch.Tensor

    def draw(self, q: Distribution, p: Distribution) -> Latent:
        noise = torch.randn(
            2000, self.num_draws, *q.event_shape, generator=torch.Generator().manual_seed(0),
            dtype=torch.float64,
        )  # fmt: skip
        return Latent(q.mean + q.stddev * noise[self.index].transpose(0, 1), q, p)


class Watched(VAEModule):
    """Keeps the gradient of its one step, as the optimiser meets it."""

    gradients: dict[str, torch.Tensor]

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.estimator.index = batch.index
        return super().training_step(replace(batch, x=batch.x.double()), batch_idx)

    def on_train_batch_end(self, *args: Any) -> None:
        """No pass after the step."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        named = (*self.model.named_parameters(), *self.objective.named_parameters())
        self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    gradients = {objective: gradients_under(objective) for objective in OBJECTIVES}
    torch.save(gradients, folder / f"{os.environ.get('RANK', '0')}.pt")


def gradients_under(objective: str) -> dict[str, torch.Tensor]:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    module = training(OBJECTIVES[objective], kind=Watched, likelihood=BernoulliGrey)
    assert isinstance(module, Watched)
    assert isinstance(module.model, LatentVariableModel)
    module.estimator = FixedDraw(num_draws=2)
    data = datamodule(
        Digits(), Support.GREY, batch_size=WHOLE // processes, val_size=0, limit=WHOLE
    )
    trainer = L.Trainer(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
        precision="64-true", max_steps=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return module.gradients


if __name__ == "__main__":
    main(Path(sys.argv[1]))

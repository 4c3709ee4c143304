"""Run by torchrun in test_distributed: one epoch of training and validation in each process.

Weights are averaged, and steps with gradients above the norm given are skipped. Each rank writes
what it saw and what was logged to RANK.pt in the folder given.
"""

import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from parts import datamodule, training

from vae_lab.callbacks import GradientSkip, Latents, WeightAverage
from vae_lab.data import Digits
from vae_lab.model.likelihoods import Gaussian, OptimalSigma
from vae_lab.support import Support
from vae_lab.training.module import VAEModule


class Watched(VAEModule):
    """Keeps the items of each split, and its own share of the validation ELBO."""

    seen: dict[str, list[int]]
    noise: list[float]
    val_elbo: list[torch.Tensor]

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen["train"] += batch.index.tolist()
        loss = super().training_step(batch, batch_idx)
        self.noise.append(float(torch.rand(())))  # what this rank's generator says next
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen["val"] += batch.index.tolist()
        super().validation_step(batch, batch_idx)

    def _evaluation_step(self, split: str, batch: Any, batch_idx: int) -> None:
        super()._evaluation_step(split, batch, batch_idx)
        state = self._bounds("val")
        self.val_elbo.append(torch.stack([state.total[0], state.count]))


def listen(sigma: OptimalSigma) -> list[torch.Tensor]:
    """Every residual that this rank's sigma observes."""
    residuals: list[torch.Tensor] = []
    whole = sigma.observe

    def observe(residual: torch.Tensor) -> None:
        residuals.append(residual.detach().flatten())
        whole(residual)

    sigma.observe = observe  # type: ignore[method-assign]
    return residuals


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    sigma = OptimalSigma(0.25)
    module = training(kind=Watched, likelihood=partial(Gaussian, sigma=sigma))
    assert isinstance(module, Watched)
    module.seen, module.noise, module.val_elbo = {"train": [], "val": []}, [], []
    residuals = listen(sigma)
    data = datamodule(Digits(), Support.CONTINUOUS, batch_size=16, val_size=101, limit=101)
    average, skip = WeightAverage(decay=0.5), GradientSkip(above=float(sys.argv[2]))
    trainer = L.Trainer(
        callbacks=[average, skip, Latents()],
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=1,
        logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    content = {
        "seen": module.seen,
        "noise": module.noise,
        "share": module.val_elbo[-1],
        "units": math.prod(module.model.z_shape),
        "logged": {name: float(value) for name, value in trainer.logged_metrics.items()},
        "skipped": skip.skipped,
        "norms": list(skip.norms),
        "sigma": float(sigma()),
        "residuals": torch.cat(residuals),
        "weights": torch.cat([p.detach().flatten() for p in module.model.parameters()]),
    }
    torch.save(content, folder / f"{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

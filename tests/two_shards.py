"""Run by torchrun in test_distributed: the same training under DDP and under FSDP, on the CPU.

FSDP is for GPUs, and Lightning and torch refuse it elsewhere unless told the device outright; gloo
then shares weights out over processes of one machine as NCCL does over GPUs. Each rank writes what
it found to RANK.pt in the folder given.
"""

import sys
from functools import partial
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, Strategy
from parts import datamodule, training
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from vae_lab.callbacks import BestCheckpoint, Figures, LastCheckpoint
from vae_lab.data import Digits
from vae_lab.model.likelihoods import Gaussian, LearnedSigma
from vae_lab.support import Support
from vae_lab.training.checkpoint_io import AtomicCheckpointIO
from vae_lab.training.module import VAEModule


class FSDPOnCPU(FSDPStrategy):
    def _setup_model(self, model: nn.Module) -> nn.Module:
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), **self.kwargs)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    found = {}
    strategies = {
        "ddp": DDPStrategy(process_group_backend="gloo"),
        "fsdp": FSDPOnCPU(process_group_backend="gloo", state_dict_type="full"),
    }
    for name, strategy in strategies.items():
        found[name] = fit(strategy, folder / name)
    torch.save(found, folder / f"{torch.distributed.get_rank()}.pt")


def fit(strategy: Strategy, folder: Path) -> dict:
    def fresh() -> VAEModule:
        return training(likelihood=partial(Gaussian, sigma=LearnedSigma(0.25)))

    module = fresh()
    data = datamodule(Digits(), Support.CONTINUOUS, batch_size=16, val_size=64, limit=64)
    kept = [BestCheckpoint(str(folder)), LastCheckpoint(str(folder))]
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy=strategy, max_epochs=2, logger=False,
        callbacks=[*kept, Figures(str(folder / "figures"), every_n_epochs=1)],
        plugins=[AtomicCheckpointIO()], enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    logged = {figure: float(value) for figure, value in trainer.logged_metrics.items()}
    trainer.strategy.barrier("checkpoints are written")
    state = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    tested = fresh()  # as a run does: the other's weights lie in shares
    tested.load_state_dict(state)
    trainer.test(tested, datamodule=data, verbose=False)
    logged |= {figure: float(value) for figure, value in trainer.logged_metrics.items()}
    held = sum(parameter.numel() for parameter in module.model.parameters())
    return {"state": state, "logged": logged, "held": held}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

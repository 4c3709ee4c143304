"""Which weights are kept, and when training may stop: on the objective's monitor, after warm-up."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch import callbacks as lightning

from vae_lab.training import Training


class BestCheckpoint(lightning.ModelCheckpoint):
    """best.ckpt: the weights with the largest monitored figure since the warm-up ended."""

    def __init__(self, dirpath: str) -> None:
        super().__init__(
            dirpath, filename="best", monitor="val/elbo", mode="max",
            enable_version_counter=False, save_on_train_epoch_end=True,
        )  # fmt: skip

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.monitor = _training(pl_module).monitor
        super().setup(trainer, pl_module, stage)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _training(pl_module).past_warmup():
            super().on_train_epoch_end(trainer, pl_module)


class LastCheckpoint(lightning.ModelCheckpoint):
    """last.ckpt: the weights after the latest epoch."""

    def __init__(self, dirpath: str) -> None:
        super().__init__(
            dirpath, filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        )


class EarlyStopping(lightning.EarlyStopping):
    """Stops when the monitored figure has not grown for `patience` epochs after the warm-up."""

    def __init__(self, patience: int, min_delta: float = 0.0) -> None:
        """`min_delta` is in the monitor's unit, nats."""
        super().__init__(
            "val/elbo", min_delta, patience, mode="max", check_on_train_epoch_end=False
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.monitor = _training(pl_module).monitor
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _training(pl_module).past_warmup():
            super().on_validation_end(trainer, pl_module)


def _training(module: LightningModule) -> Training:
    assert isinstance(module, Training)
    return module

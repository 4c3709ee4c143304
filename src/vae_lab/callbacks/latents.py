"""The `latent/` section: what the units of z do."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vae_lab.arguments import Count
from vae_lab.callbacks.averaging import averaged_weights
from vae_lab.data import ImageDataModule
from vae_lab.distributed.sharding import full_weights
from vae_lab.estimators import sampled
from vae_lab.evaluation.metrics import LatentUnits
from vae_lab.loggers import log_histograms
from vae_lab.training.module import VAEModule


class Latents(Callback):
    """Logs, each epoch, how the validation images use the latent units.

    `latent/active_share` of the units are active (Var_x E[z|x] > 0.01). `latent/posterior_stddev`
    is the typical width of q(z|x), `latent/aggregate_stddev` that of all posteriors together: under
    a standard normal prior 1 is a unit that is not used, and a perfect fit. `latent/kl_*` are nats
    per unit, where the KL is a sum over units. W&B and TensorBoard get every unit, as histograms.
    """

    def __init__(self, num_images: Count = 1000) -> None:
        """`num_images` training images stand in where there is no validation data."""
        self.num_images = num_images

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            assert isinstance(pl_module, VAEModule)
            self._log(trainer, pl_module, pl_module.units.compute())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, VAEModule)
        if not len(_data(trainer).splits["val"]):
            self._log(trainer, pl_module, training_units(trainer, pl_module, self.num_images))

    def _log(self, trainer: Trainer, module: VAEModule, units: dict[str, Tensor]) -> None:
        if not module.model.num_units:
            return
        metrics = {f"latent/{name}": value for name, value in summary(units).items()}
        module.log_dict(
            {name: value for name, value in metrics.items() if value.isfinite()}, sync_dist=True
        )
        histograms = {
            "latent/kl_per_unit": units["kl"],
            "latent/variance_of_means_per_unit": units["variance_of_means"],
        }
        for logger in trainer.loggers:
            log_histograms(logger, histograms, trainer.global_step)


@torch.no_grad()
def training_units(trainer: Trainer, module: VAEModule, num_images: int) -> dict[str, Tensor]:
    """What `LatentUnits` finds of the same training images each time. Every rank must call."""
    data, units = _data(trainer), LatentUnits(module.model.num_units).to(module.device)
    shown = data.random_items("train", num_images, module.device, seed=0)
    module.model.eval()
    with averaged_weights(trainer, module), full_weights(trainer):
        for start in range(0, len(shown.x), data.batch_size):
            units.update(module.model(shown[start : start + data.batch_size], sampled(1)))
    module.model.train()
    return units.compute()


def summary(units: dict[str, Tensor]) -> dict[str, Tensor]:
    """Scalars of what `LatentUnits` found; NaN for those of a KL that is no sum over units."""
    variance, variance_of_means, kl = units["variance"], units["variance_of_means"], units["kl"]
    return {
        "active_share": units["active"].mean(),
        "posterior_stddev": variance.mean().sqrt(),
        "aggregate_stddev": (variance + variance_of_means).mean().sqrt(),
        "kl_mean": kl.mean(),
        "kl_median": kl.median(),
        "kl_max": kl.max(),
    }


def _data(trainer: Trainer) -> ImageDataModule:
    data: ImageDataModule = trainer.datamodule  # type: ignore[attr-defined]
    return data

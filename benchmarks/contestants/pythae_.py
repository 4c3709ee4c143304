"""pythae, the collection of VAEs on the package index, driven as its documentation does."""

from tempfile import TemporaryDirectory
from typing import Any

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

from benchmarks.case import Case
from benchmarks.clock import Clock
from benchmarks.models import binary, networks, pixels, units


class Encoder(BaseEncoder):
    """A network, as pythae wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> ModelOutput:
        mu, log_var = self.network(x).chunk(2, 1)
        return ModelOutput(embedding=mu, log_covariance=log_var)


class Decoder(BaseDecoder):
    """A network, as pythae wants it: the mean of x, not its logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z).sigmoid())


class Clocked(TrainingCallback):
    """The clock, and the last epoch's loss."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.loss = clock, 0.0

    def on_epoch_begin(self, training_config: BaseTrainerConfig, **kwargs: Any) -> None:
        self.clock.begin_epoch()

    def on_train_step_end(self, training_config: BaseTrainerConfig, **kwargs: Any) -> None:
        self.clock.step()

    def on_epoch_end(self, training_config: BaseTrainerConfig, **kwargs: Any) -> None:
        self.clock.end_epoch()

    def on_log(self, training_config: BaseTrainerConfig, logs: dict[str, float], **kw: Any) -> None:
        self.loss = logs["train_epoch_loss"]


def train(case: Case, clock: Clock) -> float:
    """The last epoch's mean loss."""
    images = pixels(case) / 255
    data, timed = BaseDataset(images, torch.zeros(len(images))), Clocked(clock)
    with TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=case.epochs,
            per_device_train_batch_size=case.batch,
            learning_rate=1e-3,
            seed=case.seed,
        )
        BaseTrainer(_model(case), data, training_config=config, callbacks=[timed]).train()
    return timed.loss


def score(case: Case, clock: Clock) -> float:
    """Minus the mean importance-weighted bound of the images, under an untrained model."""
    x, model = binary(pixels(case)), _model(case)
    for _ in range(case.epochs):
        clock.begin_epoch()
        with torch.no_grad():
            log_px = model.get_nll(x, n_samples=case.draws, batch_size=min(case.draws, 500))
        clock.step()
        clock.end_epoch()
    return -float(log_px)


def _model(case: Case) -> VAE:
    encoder, decoder = networks(case)
    shape = tuple(pixels(case).shape[1:])
    config = VAEConfig(input_dim=shape, latent_dim=units(case), reconstruction_loss="bce")
    return VAE(config, Encoder(encoder), Decoder(decoder))

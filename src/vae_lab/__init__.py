"""vae-lab: variational autoencoders, composed. Bounds in nats, per datum."""

from vae_lab.commands.train import train
from vae_lab.errors import InputError
from vae_lab.experiment.run import Run
from vae_lab.trained import TrainedVAE, load

__all__ = ["InputError", "Run", "TrainedVAE", "load", "train"]

"""Models: what is composed of networks, families and priors, and yields a Trace."""

from vae_lab.model.base import LatentVariableModel
from vae_lab.model.completion import Completion, CompletionNetwork, CompletionVAE
from vae_lab.model.ladder import LadderVAE
from vae_lab.model.vae import VAE

__all__ = [
    "VAE",
    "Completion",
    "CompletionNetwork",
    "CompletionVAE",
    "LadderVAE",
    "LatentVariableModel",
]

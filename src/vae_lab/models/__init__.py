"""Models: the classes whose forward yields a Trace."""

from vae_lab.models.base import LatentVariableModel
from vae_lab.models.vae import VAE

__all__ = ["VAE", "LatentVariableModel"]

"""Conditioning: how, and whether, a class label reaches a network."""

from vae_lab.model.conditioning.base import Conditioning
from vae_lab.model.conditioning.concat import Concat
from vae_lab.model.conditioning.film import FiLM
from vae_lab.model.conditioning.none import NoConditioning

__all__ = ["Concat", "Conditioning", "FiLM", "NoConditioning"]

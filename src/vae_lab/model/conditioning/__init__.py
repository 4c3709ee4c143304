"""Conditioning: how, and whether, a class label reaches a network."""

from vae_lab.model.conditioning.base import UNCONDITIONAL, Conditioning, ConditioningPartial
from vae_lab.model.conditioning.concat import Concat
from vae_lab.model.conditioning.film import FiLM
from vae_lab.model.conditioning.none import NoConditioning
from vae_lab.model.networks import NetworkPartial

__all__ = [
    "UNCONDITIONAL",
    "Concat",
    "Conditioning",
    "ConditioningPartial",
    "FiLM",
    "NetworkPartial",
    "NoConditioning",
]

"""Networks: a shape -> a shape. They know no labels."""

from vae_lab.model.networks.base import Network, NetworkPartial
from vae_lab.model.networks.conv import ConvDecoder, ConvEncoder
from vae_lab.model.networks.mlp import MLP
from vae_lab.model.networks.resnet import ResNetDecoder, ResNetEncoder
from vae_lab.model.networks.rungs import Ascent, Path
from vae_lab.model.networks.spatial import SpatialDecoder, SpatialEncoder

__all__ = [
    "MLP",
    "Ascent",
    "ConvDecoder",
    "ConvEncoder",
    "Network",
    "NetworkPartial",
    "Path",
    "ResNetDecoder",
    "ResNetEncoder",
    "SpatialDecoder",
    "SpatialEncoder",
]

"""Networks: a shape -> a shape. And the label entries: how y reaches one."""

from vae_lab.networks.base import Network
from vae_lab.networks.conv import ConvDecoder, ConvEncoder
from vae_lab.networks.label_entry import Concat, LabelEntry, NoLabel
from vae_lab.networks.mlp import MLP

__all__ = ["MLP", "Concat", "ConvDecoder", "ConvEncoder", "LabelEntry", "Network", "NoLabel"]

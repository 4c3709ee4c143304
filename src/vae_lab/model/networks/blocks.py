"""What residual networks of convolutions are built of.

He, Zhang, Ren and Sun, Identity Mappings in Deep Residual Networks, 2016
(https://arxiv.org/abs/1603.05027), without normalisation: statistics of a batch would make the
value of a datum depend on the others.
"""

import torch
from torch import Tensor, nn

from vae_lab.model.networks.base import Network, make_activation
from vae_lab.model.networks.initialisation import initialise


class ResidualBlock(nn.Module):
    """x + f(x), f being activation, 3x3 convolution, activation, 3x3 convolution.

    Where the last convolution is zero, as it begins, the block is the identity.
    """

    def __init__(self, channels: int, activation: str) -> None:
        """`channels` of x; an `activation` by its name."""
        super().__init__()
        self.f = nn.Sequential(
            make_activation(activation),
            nn.Conv2d(channels, channels, 3, padding=1),
            make_activation(activation),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        out: Tensor = x + self.f(x)
        return out


def begin(network: Network, init: str) -> None:
    """Give a network its first weights, and have its blocks begin as the identity."""
    initialise(network, init)
    for block in network.modules():
        if isinstance(block, ResidualBlock):
            for value in block.f[-1].parameters():
                nn.init.zeros_(value)
    network.to(memory_format=torch.channels_last)  # in which convolutions are faster

"""What residual networks of convolutions are built of.

He, Zhang, Ren and Sun, Identity Mappings in Deep Residual Networks, 2016
(https://arxiv.org/abs/1603.05027), without normalisation: statistics of a batch would make the
value of a datum depend on the others.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from vae_lab.model.networks.base import Network, make_activation
from vae_lab.model.networks.initialisation import initialise
from vae_lab.trace import Shape


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


def halving_stages(
    channels: Sequence[int], blocks: int, activation: str, kernel: int
) -> list[nn.Module]:
    """A convolution of stride 2 from each of `channels` to the next, `blocks` behind each."""
    stages: list[nn.Module] = []
    for before, count in pairwise(channels):
        first = [make_activation(activation)] if stages else []
        stages.append(nn.Sequential(*first, nn.Conv2d(before, count, kernel, stride=2, padding=1)))
        stages += [ResidualBlock(count, activation) for _ in range(blocks)]
    return stages


def doubling_stages(
    channels: Sequence[int], sizes: Sequence[Shape], blocks: int, activation: str
) -> list[nn.Module]:
    """`blocks`, then a repetition of pixels up to the next of `sizes` and a 3x3 convolution."""
    stages: list[nn.Module] = []
    for (count, following), size in zip(pairwise(channels), sizes, strict=True):
        stages += [ResidualBlock(count, activation) for _ in range(blocks)]
        up = nn.Upsample(size, mode="nearest"), nn.Conv2d(count, following, 3, padding=1)
        stages.append(nn.Sequential(make_activation(activation), *up))
    return stages


def begin(network: Network, init: str) -> None:
    """Give a network its first weights, and have its blocks begin as the identity."""
    initialise(network, init)
    for block in network.modules():
        if isinstance(block, ResidualBlock):
            for value in block.f[-1].parameters():
                nn.init.zeros_(value)
    network.to(memory_format=torch.channels_last)  # in which convolutions are faster

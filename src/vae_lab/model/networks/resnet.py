"""Residual networks: from images down to any shape, and from any shape up to images."""

import math

from torch import nn

from vae_lab.arguments import Count, Widths
from vae_lab.model.networks.base import Network, make_activation
from vae_lab.model.networks.blocks import begin, doubling_stages, halving_stages
from vae_lab.model.networks.conv import check_image, halved
from vae_lab.model.networks.initialisation import Init
from vae_lab.model.networks.mlp import dense_stages
from vae_lab.trace import Shape


class ResNetEncoder(Network):
    """For each entry of `channels` a halving convolution and `blocks`, then dense layers.

    No block has the image's full size, where one would cost as much as all others together.

    >>> encoder = ResNetEncoder((3, 32, 32), (64,), channels=[32, 64], blocks=1, widths=[256])
    >>> encoder(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 64])
    """

    reads_images = True

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Widths,
        blocks: Count,
        widths: Widths,
        activation: str = "relu",
        init: Init = "he",
    ) -> None:
        """Raises InputError if the input is no image, or the stages leave nothing of it.

        Args:
            in_shape: Of one image, (C, H, W).
            out_shape: Of one output, any.
            channels: Of each resolution, the largest image first.
            blocks: Residual blocks at each resolution.
            widths: Of the dense layers that follow.
            activation: Before each convolution but the first, before the dense layers and between
                them.
            init: Its first weights: see `initialise`. Blocks begin as the identity with any.
        """
        what = "the resnet encoder"
        check_image(what, in_shape)
        size = halved(what, in_shape, len(channels))[-1]
        every = [in_shape[0], *channels]
        stages = halving_stages(every, blocks, activation, kernel=4)
        last = [make_activation(activation)] if stages else []
        dense = dense_stages(every[-1] * math.prod(size), widths, out_shape, activation)
        super().__init__(in_shape, out_shape, [*stages, *last, nn.Flatten(), *dense])
        begin(self, init)


class ResNetDecoder(Network):
    """Dense layers, then for each entry of `channels` so many `blocks` and a doubling of the image.

    An image is doubled by repeating its pixels, then convolved, 3x3. The sizes are those of the
    output halved once per resolution, so any height and width is met.

    >>> decoder = ResNetDecoder((32,), (1, 28, 28), channels=[64, 32], blocks=1, widths=[256])
    >>> decoder(torch.zeros(5, 32)).shape
    torch.Size([5, 1, 28, 28])
    """

    reads_images = False

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Widths,
        blocks: Count,
        widths: Widths,
        activation: str = "relu",
        init: Init = "he",
    ) -> None:
        """Raises InputError if the output is no image, or is too small for the stages.

        Args:
            in_shape: Of one input, any.
            out_shape: Of one image, (C, H, W).
            channels: Of each resolution, the smallest image first.
            blocks: Residual blocks at each resolution.
            widths: Of the dense layers before them.
            activation: After each hidden dense layer, and before each convolution.
            init: Its first weights: see `initialise`. Blocks begin as the identity with any.
        """
        what = "the resnet decoder"
        check_image(what, out_shape)
        sizes = halved(what, out_shape, len(channels))[::-1]  # the smallest first
        every = [*channels, out_shape[0]]
        dense = dense_stages(math.prod(in_shape), widths, (every[0], *sizes[0]), activation)
        stages = doubling_stages(every, sizes[1:], blocks, activation)
        super().__init__(in_shape, out_shape, [nn.Flatten(), *dense, *stages])
        begin(self, init)

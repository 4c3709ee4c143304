"""Fully convolutional networks: from images down to a small image of codes, and up again.

The autoencoder of Rombach, Blattmann, Lorenz, Esser and Ommer, High-Resolution Image Synthesis with
Latent Diffusion Models, 2022 (https://arxiv.org/abs/2112.10752), without its normalisation and
attention, which would let each place of z know the whole image: here it knows the pixels near it
alone, and where an image moves by a cell, so do its codes, but for those at the border.
"""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import MinLen
from torch import nn

from vae_lab.arguments import Count, Widths
from vae_lab.errors import InputError
from vae_lab.model.networks.base import Network, make_activation
from vae_lab.model.networks.blocks import begin, doubling_stages, halving_stages
from vae_lab.model.networks.conv import check_image
from vae_lab.model.networks.initialisation import Init
from vae_lab.trace import Shape

Channels = Annotated[Widths, MinLen(1)]


def sizes_down_to(what: str, image: Shape, codes: Shape) -> list[Shape]:
    """Height and width of an image (C, H, W), halved until they are those of codes (c, h, w).

    Odd sizes are rounded up. Raises InputError, naming `what` halves it, where that never is so.

    >>> sizes_down_to("the encoder", (1, 28, 28), (4, 4, 4))
    [(28, 28), (14, 14), (7, 7), (4, 4)]
    """
    check_image(what, image)
    sizes: list[Shape] = [tuple(image[1:])]
    while max(sizes[-1]) > 1:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    height, width = min(sizes, key=lambda size: (abs(size[0] - 4), size))
    fix = f"say model.z_shape=[4,{height},{width}]"
    if len(codes) != 3:
        raise InputError(
            f"{what} keeps z as an image (c, h, w), and here z has {len(codes)} "
            f"dimension{'s' * (len(codes) != 1)}: {fix}, for example, or choose conv, resnet or "
            "mlp for encoder and decoder, which suit any z."
        )
    if tuple(codes[1:]) not in sizes:
        told = ", ".join(f"{h}x{w}" for h, w in sizes[1:])
        raise InputError(
            f"{what} halves {image[1]}x{image[2]} to {told}, and never to {codes[1]}x{codes[2]}: "
            f"{fix}, for example."
        )
    return sizes[: sizes.index(tuple(codes[1:])) + 1]


def _a_halving(channels: Sequence[int], halvings: int) -> list[int]:
    """One entry for each halving, the largest image first: the last serves all that lack one."""
    return [channels[min(place, len(channels) - 1)] for place in range(halvings)]


class SpatialEncoder(Network):
    """A halving convolution and `blocks` for each halving that there is from x to z.

    How many there are follows from the two shapes. No block has the image's full size, where one
    would cost as much as all others together.

    >>> encoder = SpatialEncoder((3, 32, 32), (8, 4, 4), channels=[32, 64], blocks=1)
    >>> encoder(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 8, 4, 4])
    """

    reads_images = True

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Channels,
        blocks: Count,
        activation: str = "relu",
        init: Init = "he",
    ) -> None:
        """Raises InputError where halvings do not lead from the one shape to the other.

        Args:
            in_shape: Of one image, (C, H, W).
            out_shape: Of one output, (c, h, w).
            channels: Of each halved image, the largest first; the last entry serves those that
                follow too.
            blocks: Residual blocks at each of these sizes.
            activation: Before each convolution but the first.
            init: Its first weights: see `initialise`. Blocks begin as the identity with any.
        """
        sizes = sizes_down_to("the spatial encoder", in_shape, out_shape)
        every = [in_shape[0], *_a_halving(channels, len(sizes) - 1)]
        stages = halving_stages(every, blocks, activation, kernel=3)
        last = [make_activation(activation)] if stages else []
        stages.append(nn.Sequential(*last, nn.Conv2d(every[-1], out_shape[0], 3, padding=1)))
        super().__init__(in_shape, out_shape, stages)
        begin(self, init)


class SpatialDecoder(Network):
    """`blocks` and a doubling for each one that there is from z to x, behind a convolution of z.

    An image is doubled by repeating its pixels, then convolved, 3x3. The sizes are those of the
    encoder: an odd one is what doubling gives, less the last row and column.

    >>> decoder = SpatialDecoder((4, 4, 4), (1, 28, 28), channels=[32, 64], blocks=1)
    >>> decoder(torch.zeros(5, 4, 4, 4)).shape
    torch.Size([5, 1, 28, 28])
    """

    reads_images = True

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Channels,
        blocks: Count,
        activation: str = "relu",
        init: Init = "he",
    ) -> None:
        """Raises InputError where doublings do not lead from the one shape to the other.

        Args:
            in_shape: Of one input, (c, h, w).
            out_shape: Of one image, (C, H, W).
            channels: Of each image that is doubled, the largest first, as the encoder's; the last
                entry serves those that are smaller too.
            blocks: Residual blocks at each of these sizes.
            activation: Before each convolution but the first.
            init: Its first weights: see `initialise`. Blocks begin as the identity with any.
        """
        sizes = sizes_down_to("the spatial decoder", out_shape, in_shape)[::-1]
        every = [*_a_halving(channels, len(sizes) - 1)[::-1], out_shape[0]]
        first = nn.Conv2d(in_shape[0], every[0], 3, padding=1)
        stages = doubling_stages(every, sizes[1:], blocks, activation)
        super().__init__(in_shape, out_shape, [first, *stages])
        begin(self, init)

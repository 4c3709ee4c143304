"""Convolutional networks: from images down to any shape, and from any shape up to images."""

import math

import torch
from torch import nn

from vae_lab.arguments import Count, Natural, Widths
from vae_lab.errors import InputError
from vae_lab.model.networks.base import Network, make_activation
from vae_lab.model.networks.initialisation import Init, initialise
from vae_lab.model.networks.mlp import dense_stages
from vae_lab.trace import Shape


def check_image(what: str, shape: Shape) -> None:
    """Raise InputError unless a shape is an image's; `what` works on it."""
    if len(shape) != 3:
        raise InputError(f"{what} works on images (C, H, W), not on the shape {tuple(shape)}.")


def halved(what: str, image: Shape, times: int) -> list[Shape]:
    """Height and width of an image (C, H, W), then halved so many times, each rounded down.

    Raises InputError, naming `what` halves it, if that leaves nothing.

    >>> halved("the encoder", (1, 28, 28), 3)
    [(28, 28), (14, 14), (7, 7), (3, 3)]
    """
    _, height, width = image
    if min(height, width) >> times < 1:
        raise InputError(
            f"{what}'s {times} halvings leave nothing of a {height}x{width} image: give it fewer "
            "channels, a shorter list."
        )
    return [(height >> halvings, width >> halvings) for halvings in range(times + 1)]


class ConvEncoder(Network):
    """One convolution per entry of `channels`, then dense layers of the given `widths`.

    Each stage is convolution, activation and, where `max_pool` is above 1, max-pooling.

    >>> encoder = ConvEncoder((3, 32, 32), (64,), channels=[32, 64], widths=[256])
    >>> encoder(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 64])
    """

    reads_images = True

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Widths,
        widths: Widths,
        kernel: Count = 4,
        stride: Count = 2,
        padding: Natural = 1,
        max_pool: Count = 1,
        activation: str = "relu",
        init: Init = "he",
    ) -> None:
        """Raises InputError if the input is no image, or the stages leave nothing of it.

        Args:
            in_shape: Of one image, (C, H, W).
            out_shape: Of one output, any.
            channels: Of each convolution's output.
            widths: Of the dense layers that follow.
            kernel: Side of every convolution's window, in pixels.
            stride: Its step.
            padding: Zeros added on each side.
            max_pool: Side of the pooling window behind each convolution; 1 pools nothing.
            activation: After each convolution and each dense layer.
            init: Its first weights: see `initialise`.
        """
        check_image("the conv encoder", in_shape)
        previous, height, width = in_shape
        stages: list[nn.Module] = []
        for count in channels:
            stages.append(_down(previous, count, kernel, stride, padding, max_pool, activation))
            previous = count
            height, width = (
                ((size + 2 * padding - kernel) // stride + 1) // max_pool
                for size in (height, width)
            )
            if min(height, width) < 1:
                raise InputError(
                    f"the conv encoder's {len(channels)} stages leave nothing of a "
                    f"{in_shape[1]}x{in_shape[2]} image: give it fewer channels, a shorter list."
                )
        dense = dense_stages(previous * height * width, widths, out_shape, activation)
        super().__init__(in_shape, out_shape, [*stages, nn.Flatten(), *dense])
        initialise(self, init)
        self.to(memory_format=torch.channels_last)  # in which convolutions are faster


def _down(
    in_channels: int,
    channels: int,
    kernel: int,
    stride: int,
    padding: int,
    pool: int,
    activation: str,
) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, channels, kernel, stride, padding)
    pooling = [nn.MaxPool2d(pool)] if pool > 1 else []
    return nn.Sequential(conv, make_activation(activation), *pooling)


class ConvDecoder(Network):
    """Dense layers of the given `widths`, then one doubling convolution per entry of `channels`.

    The sizes are those of the output halved once per stage, so any height and width is met.

    >>> decoder = ConvDecoder((32,), (1, 28, 28), channels=[64, 32], widths=[256])
    >>> decoder(torch.zeros(5, 32)).shape
    torch.Size([5, 1, 28, 28])
    """

    reads_images = False

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Widths,
        widths: Widths,
        activation: str = "relu",
        init: Init = "he",
    ) -> None:
        """Raises InputError if the output is no image, or is too small for the stages.

        Args:
            in_shape: Of one input, any.
            out_shape: Of one image, (C, H, W).
            channels: Into each doubling convolution, the smallest image first.
            widths: Of the dense layers before them.
            activation: After each dense layer, and before each convolution.
            init: Its first weights: see `initialise`.
        """
        check_image("the conv decoder", out_shape)
        out_channels = out_shape[0]
        sizes = halved("the conv decoder", out_shape, len(channels))
        first = (channels[0] if channels else out_channels, *sizes[-1])
        dense = dense_stages(math.prod(in_shape), widths, first, activation)
        stages: list[nn.Module] = [nn.Flatten(), *dense]
        for stage, count in enumerate(channels):
            small, large = sizes[len(channels) - stage], sizes[len(channels) - stage - 1]
            following = [*channels[1:], out_channels][stage]
            extra = (large[0] - 2 * small[0], large[1] - 2 * small[1])
            up = nn.ConvTranspose2d(count, following, 4, 2, 1, output_padding=extra)
            stages.append(nn.Sequential(make_activation(activation), up))
        super().__init__(in_shape, out_shape, stages)
        initialise(self, init)
        self.to(memory_format=torch.channels_last)  # as the encoder's

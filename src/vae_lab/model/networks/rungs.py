"""The networks of a ladder: up from x to features at every rung, and from one rung to another.

What joins two shapes follows from them: a halving or doubling convolution between images of such
sizes, a 3x3 convolution between images of one size, else a dense layer.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from vae_lab.arguments import Widths
from vae_lab.errors import InputError
from vae_lab.model.networks.base import Features, Network, make_activation
from vae_lab.model.networks.conv import check_image, halved
from vae_lab.model.networks.initialisation import Init, initialise
from vae_lab.trace import Shape


class Ascent(Features):
    """One halving convolution per entry of `channels`, then one dense layer per entry of `widths`.

    >>> ascent = Ascent((1, 28, 28), channels=[32, 64], widths=[256])
    >>> ascent.shapes
    [(32, 14, 14), (64, 7, 7), (256,)]
    >>> [h.shape[1:] for h in ascent(torch.zeros(5, 1, 28, 28))] == ascent.shapes
    True
    """

    def __init__(
        self,
        in_shape: Shape,
        channels: Widths,
        widths: Widths,
        activation: str = "relu",
        init: Init = "he",
    ) -> None:
        """Raises InputError if the input is no image, or the halvings leave nothing of it.

        Args:
            in_shape: Of one input: an image (C, H, W), or anything where `channels` are none.
            channels: Of the image at each rung, the largest first.
            widths: Of the dense layers above.
            activation: After each layer.
            init: Its first weights: see `initialise`.
        """
        if not (channels or widths):
            raise InputError("the ladder has no rungs: give it channels or widths.")
        sizes: list[Shape] = []
        if channels:
            check_image("a ladder with channels", in_shape)
            sizes = halved("the ladder", in_shape, len(channels))[1:]
        images = [(count, *size) for count, size in zip(channels, sizes, strict=True)]
        super().__init__([*images, *((width,) for width in widths)])
        self.rungs = nn.ModuleList(
            nn.Sequential(_layer(below, here), make_activation(activation))
            for below, here in pairwise([tuple(in_shape), *self.shapes])
        )
        initialise(self, init, last=1.0)
        self.to(memory_format=torch.channels_last)  # in which convolutions are faster

    def forward(self, x: Tensor) -> list[Tensor]:
        h, found = x, []
        for rung in self.rungs:
            h = rung(h)
            found.append(h)
        return found


class Path(Network):
    """From one shape to another, `through` hidden features of given shapes; a linear map with none.

    >>> path = Path((16,), (8, 7, 7), through=[(256,), (64, 7, 7)])
    >>> path(torch.zeros(3, 5, 16)).shape
    torch.Size([3, 5, 8, 7, 7])
    """

    reads_images = False

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        through: Sequence[Shape],
        activation: str = "relu",
        init: Init = "he",
    ) -> None:
        """Raises InputError for an unknown activation or initialisation.

        Args:
            in_shape: Of one input.
            out_shape: Of one output.
            through: Shapes of the hidden features, in order.
            activation: After each hidden layer.
            init: Its first weights: see `initialise`.
        """
        first, *rest = pairwise([tuple(in_shape), *through, tuple(out_shape)])
        stages: list[nn.Module] = [_layer(*first)]
        stages += [nn.Sequential(make_activation(activation), _layer(*pair)) for pair in rest]
        super().__init__(in_shape, out_shape, stages)
        initialise(self, init)
        self.to(memory_format=torch.channels_last)


def _layer(before: Shape, after: Shape) -> nn.Module:
    """What joins two shapes."""
    if len(before) == len(after) == 3:
        (fewer, *small), (more, *large) = before, after
        if small == large:
            return nn.Conv2d(fewer, more, 3, padding=1)
        if [size // 2 for size in small] == large:
            return nn.Conv2d(fewer, more, 4, 2, 1)
        if [size // 2 for size in large] == small:
            extra = (large[0] - 2 * small[0], large[1] - 2 * small[1])
            return nn.ConvTranspose2d(fewer, more, 4, 2, 1, output_padding=extra)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(before), math.prod(after)), nn.Unflatten(1, after)
    )

"""The multilayer perceptron."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from vae_lab.arguments import Widths
from vae_lab.model.networks.base import Network, make_activation
from vae_lab.model.networks.initialisation import Init, initialise
from vae_lab.trace import Shape


def dense_stages(
    in_size: int, widths: Sequence[int], out_shape: Shape, activation: str
) -> list[nn.Module]:
    """Hidden layers of these widths, then a linear layer to `out_shape`."""
    hidden = [
        nn.Sequential(nn.Linear(a, b), make_activation(activation))
        for a, b in pairwise([in_size, *widths])
    ]
    last = nn.Linear([in_size, *widths][-1], math.prod(out_shape))
    return [*hidden, nn.Sequential(last, nn.Unflatten(1, tuple(out_shape)))]


class MLP(Network):
    """Fully connected layers, from any shape to any shape.

    >>> MLP((1, 28, 28), (64,), widths=[512])(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 64])
    """

    reads_images = False

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        widths: Widths,
        activation: str = "relu",
        init: Init = "he",
    ) -> None:
        """Raises InputError for an unknown activation or initialisation.

        Args:
            in_shape: Of one input; it is flattened.
            out_shape: Of one output.
            widths: Of the hidden layers; none gives a linear map.
            activation: After each hidden layer.
            init: Its first weights: see `initialise`.
        """
        stages = dense_stages(math.prod(in_shape), widths, out_shape, activation)
        super().__init__(in_shape, out_shape, [nn.Flatten(), *stages])
        initialise(self, init)

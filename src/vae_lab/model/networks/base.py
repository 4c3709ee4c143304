"""What every network promises."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from vae_lab.errors import unknown
from vae_lab.trace import Shape

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


class Network(nn.Sequential, ABC):
    """A stack of stages from (*batch, *in_shape) to (*batch, *out_shape). It knows no labels."""

    reads_images: ClassVar[bool]
    """Whether it reads its input as an image (C, H, W), so that a label must enter as planes."""

    def __init__(self, in_shape: Shape, out_shape: Shape, stages: Sequence[nn.Module]) -> None:
        """Stack the stages.

        Args:
            in_shape: Of one input, without batch dimensions.
            out_shape: Of one output, likewise.
            stages: Modules that take and give one batch dimension; a conditioning may step in
                between two of them.
        """
        super().__init__(*stages)
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)

    def forward(self, value: Tensor) -> Tensor:
        batch_shape = value.shape[: value.dim() - len(self.in_shape)]
        flat = value.reshape(-1, *self.in_shape)
        out: Tensor = super().forward(flat)
        return out.reshape(*batch_shape, *self.out_shape)


NetworkPartial = partial[Network]
"""A network that lacks only its shapes: (in_shape, out_shape) -> Network."""


PathPartial = Callable[[Shape, Shape, Sequence[Shape]], Network]
"""A network that lacks only its shapes: (in_shape, out_shape, those of its hidden features)."""


class Features(nn.Module, ABC):
    """x (B, *in_shape) -> features of several shapes, each made of those before it."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        """`shapes` are those of the features of one x, in order."""
        super().__init__()
        self.shapes = list(shapes)

    @abstractmethod
    def forward(self, x: Tensor) -> list[Tensor]:
        """All features, (B, *shape) of each shape, behind their activation."""


FeaturesPartial = Callable[[Shape], Features]
"""Features that lack only the shape of x."""


def reads_images(network: NetworkPartial) -> bool:
    """Whether the network, not built yet, reads its input as an image: see `Network`."""
    kind = network.func
    assert isinstance(kind, type)
    assert issubclass(kind, Network)
    return kind.reads_images


def make_activation(name: str) -> nn.Module:
    """The activation of this name. Raises InputError, listing what exists.

    >>> make_activation("relu")
    ReLU()
    """
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()

"""What a part that is built late may know."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.trace import Shape


@dataclass(frozen=True)
class Context:
    """Where a prior stands: all it may know of its model."""

    x_shape: Shape
    z_shape: Shape
    num_classes: int | None
    q_z: Callable[[Tensor, Tensor | None], Distribution]  # (x, y) -> q(z|x), the model's own

"""Finite scalar quantisation: codes are a fixed grid.

Mentzer, Minnen, Agustsson and Tschannen, Finite Scalar Quantization: VQ-VAE Made Simple, 2023
(https://arxiv.org/abs/2309.15505).
"""

from collections.abc import Sequence
from math import prod
from typing import Annotated

import torch
from annotated_types import Ge, MinLen
from torch import Tensor
from torch.nn.functional import layer_norm

from vae_lab.errors import InputError
from vae_lab.model.posteriors.quantised import QuantisedFamily
from vae_lab.trace import Shape

Levels = Annotated[
    Sequence[Annotated[int, Ge(2)]],
    MinLen(1),
    "a list of whole numbers of 2 or more, such as [8,5,5,5]",
]
_MARGIN = 1e-3  # by which the outermost levels can be reached: tanh alone would take forever


class FiniteScalar(QuantisedFamily):
    """Each of a code's D numbers is rounded to one of its own levels, within -1 and 1.

    There is no codebook to learn: K is the product of the levels, and every code a place of the
    grid. What the encoder says of a datum is first brought to mean 0 and variance 1, unlike in the
    paper: it begins near 0, where all would be one code for good, and may grow until all levels
    used are the outermost.

    >>> FiniteScalar((4, 16), levels=[8, 5, 5, 5]).num_codes
    1000
    """

    count: Tensor
    radius: Tensor
    places: Tensor

    def __init__(self, event_shape: Shape, levels: Levels) -> None:
        """Raises InputError where z has another first size, or the levels make too many codes.

        Args:
            event_shape: Of z: as many numbers as there are `levels`, then the sizes of positions.
            levels: How many values each number of a code takes.
        """
        super().__init__(
            event_shape, prod(levels), "take fewer or smaller levels, model.posterior.levels"
        )
        if self.code_size != len(levels):
            sizes = ",".join(map(str, (len(levels), *self.event_shape[1:])))
            raise InputError(
                f"{len(levels)} levels make codes of {len(levels)} numbers, and those of z have "
                f"{self.code_size}: say model.z_shape=[{sizes}]."
            )
        count = torch.tensor(list(levels))
        before = torch.cat([torch.ones(1, dtype=torch.long), count[:-1].cumprod(0)])
        self.register_buffer("count", count, persistent=False)
        self.register_buffer("radius", (count // 2).float(), persistent=False)
        self.register_buffer("places", before, persistent=False)

    def bounded(self, params: Tensor) -> Tensor:
        return self.squashed(layer_norm(params, self.event_shape))

    def squashed(self, values: Tensor) -> Tensor:
        """Within half a level of the outermost, in units in which levels are 1 / radius apart."""
        reach = (self.count - 1) * (1 + _MARGIN) / 2  # (D,)
        offset = (self.count % 2 == 0) / 2  # of an even number of levels: none of them is 0 else
        shift = torch.atanh(offset / reach)
        rows = self.vectors(values)
        inside = ((rows + shift).tanh() * reach - offset) / self.radius
        return inside.transpose(-1, -2).reshape(values.shape)

    def nearest(self, vectors: Tensor) -> Tensor:
        steps = (vectors * self.radius + self.radius).round().long()
        return (steps * self.places).sum(-1)

    def values(self, indices: Tensor) -> Tensor:
        steps = indices.unsqueeze(-1) // self.places % self.count
        return (steps - self.radius) / self.radius

"""What posteriors have in common that round an encoder's output to the nearest code."""

from abc import ABC, abstractmethod
from math import prod

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.model.distributions.quantised import Quantised
from vae_lab.model.family import CodeFamily
from vae_lab.trace import Shape, full_precision

MOST_CODES = 2**20
"""Beyond it what is counted of each code, or told of each by a prior, fills the memory."""


class QuantisedFamily(CodeFamily, ABC):
    """q(z|x) is all on one code of D numbers at each position: z is (D, *positions)."""

    def __init__(self, event_shape: Shape, num_codes: int, fewer: str) -> None:
        """Raises InputError for a z without positions, or too many codes.

        Args:
            event_shape: Of z: the size D of a code, then one size or more of positions.
            num_codes: K.
            fewer: What to do about too many, in a message.
        """
        super().__init__(event_shape)
        if len(self.event_shape) < 2:
            raise InputError(
                "a quantised z has a code's size, then the sizes of positions, not "
                f"{list(self.event_shape)}: say model.z_shape=[4,16], for example."
            )
        if num_codes > MOST_CODES:
            raise InputError(
                f"{num_codes:,} codes are too many for the memory, {MOST_CODES:,} are the most: "
                f"{fewer}."
            )
        self.code_size, *positions = self.event_shape
        self.num_positions, self.num_codes = prod(positions), num_codes

    @property
    def param_shape(self) -> Shape:
        return self.event_shape

    def bounded(self, params: Tensor) -> Tensor:
        """What is rounded, of what the encoder says, both (*batch, *event_shape)."""
        return params

    @abstractmethod
    def nearest(self, vectors: Tensor) -> Tensor:
        """Which code lies nearest to each vector, (..., D) -> (...) of 0..K-1."""

    @abstractmethod
    def values(self, indices: Tensor) -> Tensor:
        """The codes of that number, (...) -> (..., D)."""

    def vectors(self, z: Tensor) -> Tensor:
        """(*batch, *event_shape) -> (*batch, M, D): position by position."""
        return z.flatten(1 - len(self.event_shape)).transpose(-1, -2)

    @full_precision
    def indices_of(self, z: Tensor) -> Tensor:
        return self.nearest(self.vectors(z.detach()))

    def codes_of(self, indices: Tensor) -> Tensor:
        rows = self.values(indices).transpose(-1, -2)
        return rows.reshape(*indices.shape[:-1], *self.event_shape)

    def distribution(self, params: Tensor) -> Distribution:
        output = self.bounded(params)
        indices = self.indices_of(output)
        return Quantised(output, self.codes_of(indices), indices)

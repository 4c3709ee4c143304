"""The categorical posterior."""

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import one_hot

from vae_lab.model.distributions.one_hots import check_one_hots, one_hots
from vae_lab.model.family import CodeFamily
from vae_lab.trace import Shape


class Categorical(CodeFamily):
    """M independent variables of K classes each: z is (M, K), M one-hot rows.

    Its draws have no gradient: the score function trains it, or a straight-through one, which is
    biased.

    >>> Categorical((20, 10)).param_shape
    (20, 10)
    """

    def __init__(self, event_shape: Shape) -> None:
        """Raises InputError unless `event_shape` is (M, K)."""
        super().__init__(event_shape)
        check_one_hots(self.event_shape)
        self.num_positions, self.num_codes = self.event_shape

    @property
    def param_shape(self) -> Shape:
        return self.event_shape

    def indices_of(self, z: Tensor) -> Tensor:
        return z.argmax(-1)

    def codes_of(self, indices: Tensor) -> Tensor:
        return one_hot(indices, self.num_codes).to(torch.get_default_dtype())

    def distribution(self, params: Tensor) -> Distribution:
        return one_hots(params)

"""The categorical posterior."""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.distributions.one_hots import check_one_hots, one_hots
from vae_lab.model.family import Family
from vae_lab.trace import Shape


class Categorical(Family):
    """M independent variables of K classes each: z is (M, K), M one-hot rows.

    Its draws have no gradient: the score function trains it.

    >>> Categorical((20, 10)).param_shape
    (20, 10)
    """

    def __init__(self, event_shape: Shape) -> None:
        """Raises InputError unless `event_shape` is (M, K)."""
        super().__init__(event_shape)
        check_one_hots(self.event_shape)

    @property
    def param_shape(self) -> Shape:
        return self.event_shape

    def distribution(self, params: Tensor) -> Distribution:
        return one_hots(params)

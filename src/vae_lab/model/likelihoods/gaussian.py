"""The Gaussian likelihood: the decoder gives the mean, one sigma is shared by all values."""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.family import ElementwiseFamily
from vae_lab.model.likelihoods.base import Likelihood
from vae_lab.model.likelihoods.sigma import Sigma
from vae_lab.support import Support
from vae_lab.trace import Shape


class Gaussian(Likelihood, ElementwiseFamily):
    """p(x|z) = N(x; mean(z), sigma^2 I), a density; the mean lies in (0, 1), as the data do."""

    params_per_value = 1
    support = Support.CONTINUOUS

    def __init__(self, event_shape: Shape, sigma: Sigma) -> None:
        """`event_shape` is that of x; `sigma` the standard deviation that all values share."""
        super().__init__(event_shape)
        self.sigma = sigma

    def distribution(self, params: Tensor) -> Distribution:
        mean = params.sigmoid()
        return diagonal_normal(mean, self.sigma().expand_as(mean), len(self.event_shape))

    def observe(self, value: Tensor, p: Distribution) -> None:
        self.sigma.observe(value - p.mean)

    def refit(self) -> None:
        self.sigma.refit()

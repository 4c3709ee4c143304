"""The diagonal Gaussian, q(z|x) of the first VAE."""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.family import ElementwiseFamily, soft_bound


class DiagonalGaussian(ElementwiseFamily):
    """N(mu, diag(sigma^2)) of mu and log sigma^2, which is bounded softly within +-14.

    >>> DiagonalGaussian((32,)).param_shape
    (64,)
    """

    params_per_value = 2

    def distribution(self, params: Tensor) -> Distribution:
        mu, log_var = self.split(params)
        sigma = (soft_bound(log_var, 14.0) / 2).exp()
        return diagonal_normal(mu, sigma, len(self.event_shape))

"""A model whose evidence is known: z ~ N(0, I), x = W z + b + sigma noise."""

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.family import ElementwiseFamily
from vae_lab.model.likelihoods import Likelihood
from vae_lab.support import Support


class LinearGaussian:
    """The closed forms, in float64, for W (D, d), b (D,) and a scalar sigma."""

    def __init__(self, w: Tensor, b: Tensor, sigma: Tensor) -> None:
        self.w, self.b, self.sigma = w.double(), b.double(), sigma.double()

    def log_evidence(self, x: Tensor) -> Tensor:
        """Log p(x), (N,)."""
        eye = torch.eye(len(self.b), dtype=torch.float64)
        covariance = self.w @ self.w.T + self.sigma**2 * eye
        return MultivariateNormal(self.b, covariance).log_prob(x.double())

    def posterior(self, x: Tensor) -> Distribution:
        """p(z|x), batch shape (N,)."""
        eye = torch.eye(self.w.shape[1], dtype=torch.float64)
        precision = eye + self.w.T @ self.w / self.sigma**2
        mean = torch.linalg.solve(precision, (x - self.b) @ self.w / self.sigma**2, left=False)
        return MultivariateNormal(mean, precision_matrix=precision)

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z)."""
        mean = z @ self.w.T + self.b
        return diagonal_normal(mean, self.sigma.expand_as(mean), 1)

    def sample(self, n: int) -> Tensor:
        z = torch.randn(n, self.w.shape[1], dtype=torch.float64)
        return self.likelihood(z).sample()


class GaussianOnTheLine(Likelihood, ElementwiseFamily):
    """A Gaussian whose mean is the network's output itself, over all reals; learned sigma."""

    params_per_value = 1
    support = Support.CONTINUOUS

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.log_sigma = torch.nn.Parameter(torch.zeros(()))

    def distribution(self, params: Tensor) -> Distribution:
        return diagonal_normal(params, self.log_sigma.exp().expand_as(params), 1)

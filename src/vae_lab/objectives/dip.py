"""DIP: the covariance of the aggregate posterior is held to the prior's, which is diagonal.

Kumar, Sattigeri and Balakrishnan, Variational Inference of Disentangled Latent Concepts from
Unlabeled Observations, 2018 (https://arxiv.org/abs/1711.00848).
"""

from abc import abstractmethod

import torch
from torch import Tensor

from vae_lab.arguments import NonNegative
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.objectives.aggregate import check_posterior, check_prior, one_latent
from vae_lab.objectives.base import Objective
from vae_lab.trace import Latent, Trace, full_precision


@full_precision
def covariance_of_means(latent: Latent, objective: str) -> Tensor:
    """Cov_x E[z|x] over the batch, (units, units), the sum of squares divided by B.

    Raises InputError, naming `objective`, for a q without a mean in closed form.
    """
    try:
        mean = latent.q.mean.flatten(1)  # (B, units)
    except NotImplementedError:
        raise InputError(
            f"objective={objective} needs the posterior's mean in closed form: say "
            "model/posterior=diagonal_gaussian."
        ) from None
    centred = mean - mean.mean(0)
    return centred.T @ centred / len(mean)


class DIP(Objective):
    """The ELBO - lambda_od sum_{i != j} C_ij^2 - lambda_d sum_i (C_ii - Var_p z_i)^2.

    C is a covariance over the batch, whose noise its squares add to the penalty: less of it in
    larger batches. With a standard normal prior, Var_p is 1, as in the paper.
    """

    reads_batch = True
    name: str

    def __init__(self, context: Context, lambda_od: NonNegative, lambda_d: NonNegative) -> None:
        """`lambda_od` weighs C off its diagonal, `lambda_d` on it; both at 0, this is the ELBO."""
        super().__init__(context)
        self.lambda_od, self.lambda_d = lambda_od, lambda_d

    def describe(self) -> str:
        weights = f"lambda_od {self.lambda_od:g}, lambda_d {self.lambda_d:g}"
        name = self.name.upper().replace("_", "-")
        return f"{name}, {weights}" if self.lambda_od or self.lambda_d else ""

    @abstractmethod
    def covariance(self, latent: Latent) -> Tensor:
        """C, (units, units). Raises InputError for a posterior that it is not known of."""

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        """Raises InputError unless p is a product over units, the same for all data."""
        latent = one_latent(trace, self.name)
        check_prior(latent, self.name)
        covariance = self.covariance(latent)
        diagonal = covariance.diagonal()
        off_diagonal = (covariance - diagonal.diag()).square().sum()
        on_diagonal = (diagonal - latent.p.variance.flatten()).square().sum()
        penalty = self.lambda_od * off_diagonal + self.lambda_d * on_diagonal
        return trace.log_px - latent.kl - penalty


class DIPI(DIP):
    """DIP-VAE-I: C is the covariance of the posterior means."""

    name = "dip_i"

    def covariance(self, latent: Latent) -> Tensor:
        return covariance_of_means(latent, self.name)


class DIPII(DIP):
    """DIP-VAE-II: C is the covariance of z itself, E_x Var[z|x] + Cov_x E[z|x]."""

    name = "dip_ii"

    def covariance(self, latent: Latent) -> Tensor:
        check_posterior(latent, self.name)
        within = latent.q.variance.flatten(1).mean(0)
        return torch.diag(within) + covariance_of_means(latent, self.name)

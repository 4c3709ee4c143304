"""Mixtures of Gaussians by expectation-maximisation, where a prior starts from codes."""

import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

_VARIANCE_ADDED = 1e-3  # to every unit of every component, so that none shrinks onto a point


@dataclass(frozen=True)
class Gaussians:
    """K weighted Gaussians over vectors of D units."""

    log_weights: Tensor  # (K,)
    mu: Tensor  # (K, D)
    covariance: Tensor  # (K, D) variances, or (K, D, D)


def gaussians_of(
    z: Tensor, components: int, covariance: Literal["diag", "full"], seed: int
) -> Gaussians | None:
    """The mixture that explains vectors, by maximum likelihood; None of too few of them.

    A local maximum, which scikit-learn finds from k-means on: Dempster, Laird and Rubin, Maximum
    Likelihood from Incomplete Data via the EM Algorithm, 1977.

    Args:
        z: (N, D), with a variance of about 1: 0.001 is added to those of each component.
        components: K; of K vectors or fewer there is no mixture.
        covariance: Whether units of a component may depend on each other ("full").
        seed: Of where k-means starts.
    """
    if len(z) <= components:
        return None
    # Here, since it takes a quarter of a second, and every run would wait for it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        components, covariance_type=covariance, reg_covar=_VARIANCE_ADDED, random_state=seed
    )
    with warnings.catch_warnings():  # where it stops early, gradient steps go on
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(z.double().cpu().numpy())
    found = (mixture.weights_, mixture.means_, mixture.covariances_)
    weights, mu, spread = (torch.from_numpy(each).to(z) for each in found)
    return Gaussians(weights.log(), mu, spread)

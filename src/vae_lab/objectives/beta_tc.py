"""beta-TC: the KL in three parts, each with its weight.

Chen et al., Isolating Sources of Disentanglement in VAEs, 2018 (https://arxiv.org/abs/1802.04942).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae_lab.arguments import NonNegative
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.objectives.aggregate import check_posterior, check_prior, one_latent
from vae_lab.objectives.base import Objective
from vae_lab.trace import Latent, Trace, factorises, full_precision


class KLParts(NamedTuple):
    """log q(z|x) - log p(z) in three parts that sum to it, (S, B), in nats."""

    index_code_mi: Tensor  # log q(z|x) - log q(z)
    total_correlation: Tensor  # log q(z) - sum_j log q(z_j)
    dimension_wise_kl: Tensor  # sum_j log q(z_j) - log p(z)


@full_precision
def kl_parts(latent: Latent, num_data: int) -> KLParts:
    """The parts of the KL, by minibatch stratified sampling of q(z), at each draw of each datum.

    Of `num_data` data, the one that z was drawn for counts 1 / num_data, and the batch's others
    stand for all the rest, in equal shares. Over random batches this is q(z) on average; its log is
    biased. (Chen et al. give one of the others another share: this is the mean over which one.)
    Validation counts on as many data.

    Args:
        latent: Of a q(z|x) that is a product over units, batch shape (B,).
        num_data: How many data the aggregate posterior is over.
    """
    z, q, p = latent.z, latent.q, latent.p
    assert factorises(q)
    log_q = q.base_dist.log_prob(z[:, :, None]).flatten(3)  # (S, B, B, units): z_b under q(z|x_m)
    log_shares = _shares(log_q[0, ..., 0], num_data).log()  # (B, B)
    log_q_z = (log_q.sum(3) + log_shares).logsumexp(2)  # (S, B)
    log_q_units = (log_q + log_shares[..., None]).logsumexp(2).sum(2)  # sum_j log q(z_j), (S, B)
    return KLParts(q.log_prob(z) - log_q_z, log_q_z - log_q_units, log_q_units - p.log_prob(z))


def _shares(like: Tensor, num_data: int) -> Tensor:
    """What each datum of the batch counts for each, (B, B): every row sums to 1."""
    size = len(like)
    own = torch.eye(size, dtype=like.dtype, device=like.device)
    share = 1 / num_data if size > 1 else 1.0  # alone, it stands for all
    return share * own + (1 - share) / max(size - 1, 1) * (1 - own)


class BetaTC(Objective):
    """log p(x|z) - alpha MI - beta TC - gamma (dimension-wise KL), q(z) by stratified sampling.

    Computed as the ELBO minus what the weights add to 1, so that with all at 1 it is the ELBO, its
    KL in closed form where there is one.
    """

    reads_batch = True

    def __init__(
        self, context: Context, alpha: NonNegative, beta: NonNegative, gamma: NonNegative
    ) -> None:
        """Weigh the parts.

        Args:
            context: The model's, which knows how many training data there are.
            alpha: The weight of the index-code mutual information.
            beta: The weight of the total correlation.
            gamma: The weight of the dimension-wise KL.
        """
        super().__init__(context)
        if context.num_data is None:
            raise InputError("objective=beta_tc needs context.num_data, the number of data.")
        self.num_data = context.num_data
        self.alpha, self.beta, self.gamma = alpha, beta, gamma

    def describe(self) -> str:
        weights = (self.alpha, self.beta, self.gamma)
        no_bound = ", no bound" * (min(weights) < 1)
        told = ", ".join(
            f"{weight:g} {part}"
            for weight, part in zip(weights, ("MI", "TC", "dimension-wise KL"), strict=True)
        )
        return f"beta-TC: {told}{no_bound}" if set(weights) != {1} else ""

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        """Raises InputError unless q and p are products over units, p the same for all data."""
        latent = one_latent(trace, "beta_tc")
        check_posterior(latent, "beta_tc")
        check_prior(latent, "beta_tc")
        mi, tc, dimension_wise = kl_parts(latent, self.num_data)
        added = (self.alpha - 1) * mi + (self.beta - 1) * tc + (self.gamma - 1) * dimension_wise
        return trace.log_px - latent.kl - added

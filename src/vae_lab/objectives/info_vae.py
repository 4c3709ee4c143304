"""InfoVAE: the aggregate posterior is held to the prior by their maximum mean discrepancy.

Zhao, Song and Ermon, InfoVAE: Balancing Learning and Inference in VAEs, 2019
(https://arxiv.org/abs/1706.02262); the kernel: Tolstikhin et al., Wasserstein Auto-Encoders, 2018.
"""

from typing import Annotated

from annotated_types import Le
from torch import Tensor

from vae_lab.arguments import Positive
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.objectives.aggregate import one_latent
from vae_lab.objectives.base import Objective
from vae_lab.trace import Latent, Trace, full_precision


@full_precision
def mmd(latent: Latent, scale: float) -> Tensor:
    """The squared MMD of q(z) and p(z), below 2: each datum's share of it, (S, B), no unit.

    For each of the S draws the mean over the batch is the unbiased estimate (U-statistic), which
    may be negative; of one datum alone it is 0. As many z are drawn from p as from q: of a p(z|y),
    with the batch's labels. No pair is of one datum, whose z under q and p share their label.

    Args:
        latent: Draws z of q, (S, B, *Z), and p, batch shape () or (B,).
        scale: Of one unit of z, 1 for a standard normal prior. The kernel is the inverse
            multiquadratic C / (C + |a - b|^2), where C = 2 units scale^2.
    """
    draw = latent.p.rsample if latent.p.has_rsample else latent.p.sample
    z = latent.z.flatten(2)  # (S, B, units)
    other = draw(latent.z.shape[: 2 - len(latent.p.batch_shape)]).flatten(2)
    c, size = 2 * z.shape[2] * scale**2, z.shape[1]

    def to_others(a: Tensor, b: Tensor) -> Tensor:
        """The kernel of each datum's a and the others' b, summed, (S, B)."""
        kernel = c / (c + (a[:, :, None] - b[:, None]).square().sum(3))  # (S, B, B)
        return kernel.sum(2) - kernel.diagonal(dim1=1, dim2=2)

    pairs = to_others(z, z) + to_others(other, other) - 2 * to_others(z, other)
    return pairs / max(size - 1, 1)


class InfoVAE(Objective):
    """log p(x|z) - (1 - alpha) KL(q(z|x) || p) - (alpha + lambda - 1) MMD^2(q(z), p).

    At alpha = 1 no KL is left: MMD-VAE. At alpha = 0, lambda = 1 it is the ELBO. A learned prior
    learns from the MMD where draws of it have a gradient.
    """

    reads_batch = True

    def __init__(
        self, context: Context, alpha: Annotated[float, Le(1)], lambda_: float, scale: Positive
    ) -> None:
        """Raises InputError where the MMD would be rewarded: alpha + lambda_ below 1.

        Args:
            context: The model's.
            alpha: How much of the mutual information of x and z is set free; 1: all.
            lambda_: The weight of the divergence of q(z) from p(z), lambda in the paper.
            scale: Of one unit of z, in the kernel.
        """
        super().__init__(context)
        if alpha + lambda_ < 1:
            raise InputError(
                f"objective.alpha + objective.lambda_ must be 1 or more, not {alpha + lambda_:g}: "
                "raise objective.lambda_."
            )
        self.alpha, self.lambda_, self.scale = alpha, lambda_, scale

    def describe(self) -> str:
        if (self.alpha, self.lambda_) == (0, 1):
            return ""
        no_bound = ", no bound" * (self.alpha > 0)
        name = "MMD-VAE" if self.alpha == 1 else f"InfoVAE, alpha {self.alpha:g}"
        return f"{name}, lambda {self.lambda_:g}{no_bound}"

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        """Raises InputError where z has several layers."""
        latent = one_latent(trace, "info_vae")
        free = trace.log_px - (self.alpha + self.lambda_ - 1) * mmd(latent, self.scale)
        if self.alpha == 1:  # not 0 times a KL, which of a point mass is infinite
            return free
        return free - (1 - self.alpha) * latent.kl

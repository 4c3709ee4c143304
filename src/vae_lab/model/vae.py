"""The variational autoencoder.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014 (https://arxiv.org/abs/1312.6114);
Rezende, Mohamed and Wierstra, Stochastic Backpropagation, 2014. Conditional by its conditionings or
its prior: Sohn, Lee and Yan, 2015.
"""

from collections.abc import Callable
from math import prod

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.arguments import Count, Sizes
from vae_lab.model.base import LatentVariableModel
from vae_lab.model.conditioning import ConditioningPartial
from vae_lab.model.context import Context
from vae_lab.model.family import Family
from vae_lab.model.likelihoods import Likelihood
from vae_lab.model.networks import NetworkPartial
from vae_lab.model.priors import Prior
from vae_lab.trace import Batch, Draw, Shape, Trace, centre


class VAE(LatentVariableModel):
    """q(z|x) = posterior(encoder(x)), p(x|z) = likelihood(decoder(z)), p(z) = prior().

    The parts arrive as partials; the VAE tells each the shape it serves.
    """

    def __init__(
        self,
        x_shape: Sizes,
        z_shape: Sizes,
        num_classes: Count | None,
        encoder: NetworkPartial,
        decoder: NetworkPartial,
        encoder_conditioning: ConditioningPartial,
        decoder_conditioning: ConditioningPartial,
        posterior: Callable[[Shape], Family],
        likelihood: Callable[[Shape], Likelihood],
        prior: Callable[[Context], Prior],
    ) -> None:
        """Raises InputError where a part refuses the shape it is given.

        Args:
            x_shape: Of one datum, such as (1, 28, 28).
            z_shape: Of one draw of z, such as (32,).
            num_classes: Of the labels; None without labels.
            encoder: The network from x to the posterior's parameters.
            decoder: The network from z to the likelihood's parameters.
            encoder_conditioning: How a label reaches the encoder.
            decoder_conditioning: How a label reaches the decoder.
            posterior: The family of q(z|x).
            likelihood: The family of p(x|z).
            prior: p(z), or p(z|y).
        """
        super().__init__(x_shape, num_classes)
        self.z_shape = tuple(z_shape)
        x, z = self.x_shape, self.z_shape
        self.posterior, self.likelihood = posterior(z), likelihood(x)
        self.encoder = encoder_conditioning(encoder, x, self.posterior.param_shape, num_classes)
        self.decoder = decoder_conditioning(decoder, z, self.likelihood.param_shape, num_classes)
        self.prior = prior(self.context())

    @property
    def num_units(self) -> int:
        return prod(self.z_shape)

    @property
    def reads_labels(self) -> bool:
        parts = (self.encoder, self.decoder, self.prior)
        return any(part.reads_labels for part in parts)

    def q_z(self, x: Tensor, y: Tensor | None) -> Distribution:
        """q(z|x), batch shape (B,), for x (B, *X) and, where labels are read, y (B,)."""
        q: Distribution = self.posterior(self.encoder(x, y))
        return q

    def p_z(self, y: Tensor | None) -> Distribution:
        """The prior over z, batch shape () or (B,)."""
        p: Distribution = self.prior(y)
        return p

    def p_x(self, z: Tensor, y: Tensor | None) -> Distribution:
        """p(x|z), batch shape that of z, (*batch, B, *Z)."""
        p: Distribution = self.likelihood(self.decoder(z, y))
        return p

    def given(self, batch: Batch) -> Callable[[Draw], Trace]:
        q, p = self.q_z(batch.x, batch.y), self.p_z(batch.y)

        def trace(draw: Draw) -> Trace:
            latent = draw(q, p)
            return Trace(batch.x, batch.y, self.p_x(latent.z, batch.y), (latent,))

        return trace

    def sample(self, n: int, y: Tensor | None) -> Distribution:
        return self.sample_from(self.p_z(y), n, y)

    def sample_from(self, prior: Distribution, n: int, y: Tensor | None) -> Distribution:
        """As `sample`, under another prior than the model's own, batch shape () or (n,)."""
        z = prior.sample(() if prior.batch_shape else (n,))
        return self.p_x(z, y)

    def reconstruct(self, batch: Batch) -> Distribution:
        return self.p_x(centre(self.q_z(batch.x, batch.y)), batch.y)

    def observe(self, trace: Trace) -> None:
        super().observe(trace)
        (latent,) = trace.latents
        self.posterior.observe(latent.z, latent.q)

    def context(self) -> Context:
        return Context(
            self.x_shape, self.num_classes, self.z_shape,
            q_z=self.q_z, p_x=self.p_x, posterior=self.posterior,
        )  # fmt: skip

    def initialise(self, take: Callable[[int], Batch]) -> None:
        self.prior.initialise(take)

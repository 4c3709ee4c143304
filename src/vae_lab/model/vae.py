"""The variational autoencoder.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014 (https://arxiv.org/abs/1312.6114);
Rezende, Mohamed and Wierstra, Stochastic Backpropagation, 2014. Conditional by its label entries or
its prior: Sohn, Lee and Yan, 2015.
"""

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.base import LatentVariableModel
from vae_lab.model.conditioning import Conditioning
from vae_lab.model.conditioning.base import NetworkPartial
from vae_lab.model.context import Context
from vae_lab.model.family import Family
from vae_lab.model.likelihoods import Likelihood
from vae_lab.model.priors import Prior
from vae_lab.trace import Batch, Draw, Shape, Trace

EntryPartial = Callable[[NetworkPartial, Shape, Shape, int | None], Conditioning]


class VAE(LatentVariableModel):
    """q(z|x) = posterior(encoder(x)), p(x|z) = likelihood(decoder(z)), p(z) = prior().

    The parts arrive as partials; the VAE tells each the shape it serves.
    """

    def __init__(
        self,
        x_shape: Sequence[int],
        z_shape: Sequence[int],
        num_classes: int | None,
        encoder: NetworkPartial,
        decoder: NetworkPartial,
        encoder_conditioning: EntryPartial,
        decoder_conditioning: EntryPartial,
        posterior: Callable[[Shape], Family],
        likelihood: Callable[[Shape], Likelihood],
        prior: Callable[[Context], Prior],
    ) -> None:
        """Raises InputError for sizes below 1, and where a part refuses the shape it is given."""
        super().__init__(x_shape, z_shape, num_classes)
        x, z = self.x_shape, self.z_shape
        self.posterior, self.likelihood = posterior(z), likelihood(x)
        self.encoder = encoder_conditioning(encoder, x, self.posterior.param_shape, num_classes)
        self.decoder = decoder_conditioning(decoder, z, self.likelihood.param_shape, num_classes)
        self.prior = prior(Context(x, z, num_classes, self.q_z))

    @property
    def reads_labels(self) -> bool:
        parts = (self.encoder, self.decoder, self.prior)
        return any(part.reads_labels for part in parts)

    def q_z(self, x: Tensor, y: Tensor | None) -> Distribution:
        q: Distribution = self.posterior(self.encoder(x, y))
        return q

    def p_z(self, y: Tensor | None) -> Distribution:
        p: Distribution = self.prior(y)
        return p

    def p_x(self, z: Tensor, y: Tensor | None) -> Distribution:
        p: Distribution = self.likelihood(self.decoder(z, y))
        return p

    def forward(self, batch: Batch, draw: Draw) -> Trace:
        latent = draw(self.q_z(batch.x, batch.y), self.p_z(batch.y))
        return Trace(batch.x, batch.y, self.p_x(latent.z, batch.y), (latent,))

"""The point mass, which makes of a VAE a deterministic autoencoder."""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.model.distributions.delta import Delta
from vae_lab.model.family import ElementwiseFamily


class PointMass(ElementwiseFamily):
    """All mass on one code, the encoder's output: q has no density, and the model no ELBO.

    It is trained by `objective=reconstruction`.
    """

    params_per_value = 1

    def distribution(self, params: Tensor) -> Distribution:
        return Delta(params, len(self.event_shape))

"""The uniform posterior: a box, beyond whose edges q(z|x) has no mass."""

from torch import Tensor
from torch.distributions import Distribution, Independent

from vae_lab.model.distributions.uniform import Uniform
from vae_lab.model.family import ElementwiseFamily, soft_bound

_ROUNDING = 1e-6  # of a centre, relative: more than float32's, so that no edge falls on the other


class UniformPosterior(ElementwiseFamily):
    """Uniform within a half width of a centre, of every unit; log half width within +-7, softly.

    Against a Gaussian prior the KL has a closed form, and the ELBO trains as ever. But p(z|x) has
    mass outside of any box, which importance weights never see: an NLL stays above -log p(x),
    however many draws it is made of.

    >>> UniformPosterior((32,)).param_shape
    (64,)
    """

    params_per_value = 2

    def distribution(self, params: Tensor) -> Distribution:
        centre, log_half = self.split(params)
        half = soft_bound(log_half, 7.0).exp() + _ROUNDING * centre.abs()
        box = Uniform(centre - half, centre + half)
        return Independent(box, len(self.event_shape), validate_args=False)

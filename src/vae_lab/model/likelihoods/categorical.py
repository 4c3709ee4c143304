"""The categorical likelihood.

Van den Oord, Kalchbrenner and Kavukcuoglu, Pixel Recurrent Neural Networks, 2016
(https://arxiv.org/abs/1601.06759), whose softmax over levels it is, without the autoregression.
"""

from torch import Tensor
from torch.distributions import Distribution, Independent

from vae_lab.model.distributions.levels import LevelsDistribution
from vae_lab.model.family import ElementwiseFamily
from vae_lab.model.likelihoods.base import Likelihood
from vae_lab.support import Support


class Categorical(Likelihood, ElementwiseFamily):
    """p(x|z) = prod_i softmax(logits_i)[255 x_i], for 8-bit images.

    It knows no order of levels. 256 logits a value make the last layer of a decoder large.

    >>> Categorical((1, 28, 28))(torch.zeros(256, 28, 28)).log_prob(torch.zeros(1, 28, 28)) / 784
    tensor(-5.5452)
    """

    params_per_value = 256
    support = Support.LEVELS

    def distribution(self, params: Tensor) -> Distribution:
        base = LevelsDistribution(self.side_by_side(params))
        return Independent(base, len(self.event_shape), validate_args=False)

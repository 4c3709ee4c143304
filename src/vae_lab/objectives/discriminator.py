"""A discriminator: it tells images of the data from images that a model has made."""

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import gelu

from vae_lab.arguments import Count
from vae_lab.model.labels import needed_label
from vae_lab.model.networks import NetworkPartial
from vae_lab.trace import Shape


class Discriminator(nn.Module):
    """log-odds that an image is one of the data, and the features that they are read from.

    Where it is told the label of an image it asks for the odds under that label, by projection:
    Miyato and Koyama, cGANs with Projection Discriminator, 2018 (https://arxiv.org/abs/1802.05637).
    No part of it looks at more than one image at once.
    """

    def __init__(
        self, x_shape: Shape, num_classes: int | None, network: NetworkPartial, features: Count
    ) -> None:
        """Raises InputError where the network refuses the shape.

        Args:
            x_shape: Of one image.
            num_classes: Of the labels; None: it is told none.
            network: From an image to `features` values.
            features: How many there are.
        """
        super().__init__()
        self.network, self.score = network(x_shape, (features,)), nn.Linear(features, 1)
        self.of_class = None if num_classes is None else nn.Embedding(num_classes, features)
        if self.of_class is not None:
            nn.init.zeros_(self.of_class.weight)  # it begins with no opinion of labels

    def forward(self, image: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Judge images, (*batch, B, *X), of labels y (B,): log-odds (*batch, B), in nats; features.

        Features are (*batch, B, features). `y` is not looked at where there are no labels.
        """
        features = gelu(self.network(image))
        odds: Tensor = self.score(features).squeeze(-1)
        if self.of_class is not None:
            odds = odds + (features * self.of_class(needed_label(y))).sum(-1)
        return odds, features

    def frozen(self, image: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same, from which no gradient reaches its own weights: what a generator may ask."""
        weights = {name: weight.detach() for name, weight in self.named_parameters()}
        found: tuple[Tensor, Tensor] = functional_call(self, weights, (image, y))
        return found

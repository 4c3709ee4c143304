"""Feature-wise linear modulation."""

import torch
from torch import Tensor, nn

from vae_lab.errors import InputError
from vae_lab.model.conditioning.base import UNCONDITIONAL, Conditioning
from vae_lab.model.labels import needed_classes, needed_label
from vae_lab.model.networks import NetworkPartial
from vae_lab.trace import Shape


class Modulation(nn.Module):
    """gamma_y h + beta_y: a scale and a shift of every feature for each class.

    A feature is a channel of an image h, or an entry of a vector h. What is learned of gamma is its
    distance from 1, as in the paper: it starts as the identity, and weight decay pulls towards it.
    """

    def __init__(self, shape: Shape, num_classes: int) -> None:
        """`shape` is that of one h; `num_classes` that of the labels."""
        super().__init__()
        one_a_feature = (num_classes, shape[0], *[1] * len(shape[1:]))
        self.delta_gamma = nn.Parameter(torch.zeros(one_a_feature))
        self.beta = nn.Parameter(torch.zeros(one_a_feature))

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """(N, *shape) and labels (N,) -> (N, *shape)."""
        return (1 + self.delta_gamma[y]) * h + self.beta[y]


class FiLM(Conditioning):
    """The label scales and shifts features between a network's stages, and enters nowhere else.

    That is behind every stage that has weights, the last one aside. The network knows of no label,
    and at the start, where every scale is 1 and every shift 0, does as it would alone.

    Perez, Strub, de Vries, Dumoulin and Courville, FiLM: Visual Reasoning with a General
    Conditioning Layer, 2018 (https://arxiv.org/abs/1709.07871).
    """

    reads_labels = True

    def __init__(
        self, network: NetworkPartial, in_shape: Shape, out_shape: Shape, num_classes: int | None
    ) -> None:
        """Raises InputError where the data have no classes, or the network has one layer alone."""
        super().__init__(network, in_shape, out_shape, num_classes)
        classes = needed_classes(num_classes, UNCONDITIONAL)
        self.network = network(in_shape, out_shape)
        between = _outputs_of_stages_with_weights(self.network, in_shape)[:-1]
        if not between:
            raise InputError(
                f"FiLM scales and shifts features between the layers of a network, and this "
                f"{type(self.network).__name__} has one layer alone: give it another, such as "
                "widths=[256], or choose concat in place of film."
            )
        self.after = nn.ModuleDict()  # by the place of the stage whose output is modulated
        for place, shape in between:
            self.after[str(place)] = Modulation(shape, classes)

    def forward(self, value: Tensor, y: Tensor | None) -> Tensor:
        """Raises InputError without labels."""
        batch_shape = value.shape[: value.dim() - len(self.network.in_shape)]
        label = needed_label(y).expand(batch_shape).reshape(-1)  # one for each of the draws
        h = value.reshape(-1, *self.network.in_shape)
        for place, stage in enumerate(self.network):
            h = stage(h)
            if str(place) in self.after:
                h = self.after[str(place)](h, label)
        return h.reshape(*batch_shape, *self.network.out_shape)


@torch.no_grad()
def _outputs_of_stages_with_weights(
    network: nn.Sequential, in_shape: Shape
) -> list[tuple[int, Shape]]:
    """Place and output shape of each. Others only reshape what a stage before them gives."""
    network.eval()  # so that statistics of batches stay, and nothing is drawn
    h, found = torch.zeros(1, *in_shape), []
    for place, stage in enumerate(network):
        h = stage(h)
        if next(stage.parameters(), None) is not None:
            found.append((place, tuple(h.shape[1:])))
    network.train()
    return found

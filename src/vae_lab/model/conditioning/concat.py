"""The one-hot label, concatenated."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from vae_lab.model.conditioning.base import UNCONDITIONAL, Conditioning
from vae_lab.model.labels import needed_classes, needed_label
from vae_lab.model.networks import NetworkPartial
from vae_lab.model.networks.base import reads_images
from vae_lab.trace import Shape


class Concat(Conditioning):
    """The one-hot label is concatenated: as constant planes to an image, as features to a vector.

    Sohn, Lee and Yan, Learning Structured Output Representation using Deep Conditional Generative
    Models, 2015.
    """

    reads_labels = True

    def __init__(
        self, network: NetworkPartial, in_shape: Shape, out_shape: Shape, num_classes: int | None
    ) -> None:
        """Raises InputError where the data have no classes."""
        super().__init__(network, in_shape, out_shape, num_classes)
        self.num_classes = needed_classes(num_classes, UNCONDITIONAL)
        self.in_shape = tuple(in_shape)
        self.as_planes = reads_images(network)
        if self.as_planes:
            channels, *size = in_shape
            self.network = network((channels + self.num_classes, *size), out_shape)
        else:
            self.network = network((torch.Size(in_shape).numel() + self.num_classes,), out_shape)

    def forward(self, value: Tensor, y: Tensor | None) -> Tensor:
        """Raises InputError without labels."""
        label = one_hot(needed_label(y), self.num_classes).to(value.dtype)  # (B, num_classes)
        batch_shape = value.shape[: value.dim() - len(self.in_shape)]
        if self.as_planes:
            planes = label[..., None, None].expand(*batch_shape, -1, *self.in_shape[1:])
            joined = torch.cat([value, planes], dim=-3)
        else:
            features = label.expand(*batch_shape, -1)
            joined = torch.cat([value.reshape(*batch_shape, -1), features], dim=-1)
        out: Tensor = self.network(joined)
        return out

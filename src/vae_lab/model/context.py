"""What a part that is built late may know of what stands around it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.model.family import Family
from vae_lab.support import Support
from vae_lab.trace import Shape


@dataclass(frozen=True)
class Context:
    """Where a prior or an objective stands. What makes no sense there is None.

    Attributes:
        x_shape: Of one datum.
        num_classes: Of the labels; None without labels.
        z_shape: Of one draw; None where there are several latent layers.
        num_data: How many training data there are; None to a prior.
        q_z: (x, y) -> q(z|x), the model's own.
        p_x: (z, y) -> p(x|z), the model's own.
        posterior: The family of q(z|x).
        reads_labels: Whether the model is conditional; None to a prior.
        support: The values of x; None to a prior.
        classifier: () -> a trained classifier of the data; None to a prior, or without labels.
    """

    x_shape: Shape
    num_classes: int | None
    z_shape: Shape | None = None
    num_data: int | None = None
    q_z: Callable[[Tensor, Tensor | None], Distribution] | None = None
    p_x: Callable[[Tensor, Tensor | None], Distribution] | None = None
    posterior: Family | None = None
    reads_labels: bool | None = None
    support: Support | None = None
    classifier: Callable[[], nn.Sequential] | None = None

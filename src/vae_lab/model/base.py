"""What every model promises."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.model.likelihoods import Likelihood
from vae_lab.trace import Batch, Draw, Trace


class LatentVariableModel(nn.Module, ABC):
    """p(x, z) and q(z|x), together."""

    likelihood: Likelihood

    def __init__(
        self, x_shape: Sequence[int], z_shape: Sequence[int], num_classes: int | None
    ) -> None:
        """Raises InputError for a latent size below 1."""
        super().__init__()
        sizes = z_shape if isinstance(z_shape, list | tuple) else ()
        if not sizes or not all(isinstance(size, int) and size >= 1 for size in sizes):
            raise InputError(
                f"model.z_shape must hold sizes of 1 or more, such as [32], not {z_shape}."
            )
        self.x_shape, self.z_shape = tuple(x_shape), tuple(z_shape)
        self.num_classes = num_classes

    @property
    @abstractmethod
    def reads_labels(self) -> bool:
        """Whether the model is conditional, so that its evidence is log p(x|y)."""

    @abstractmethod
    def forward(self, batch: Batch, draw: Draw) -> Trace:
        """One pass: all that the objective, the metrics and the evaluation read."""

    @abstractmethod
    def q_z(self, x: Tensor, y: Tensor | None) -> Distribution:
        """q(z|x), batch shape (B,), for x (B, *X) and, where it reads labels, y (B,)."""

    @abstractmethod
    def p_z(self, y: Tensor | None) -> Distribution:
        """The prior over z, batch shape () or (B,)."""

    @abstractmethod
    def p_x(self, z: Tensor, y: Tensor | None) -> Distribution:
        """p(x|z), batch shape that of z, (*batch, B, *Z)."""

    def sample(self, n: int, y: Tensor | None) -> Distribution:
        """p(x|z) for n draws of z, batch shape (n,); y is (n,) where labels are read."""
        prior = self.p_z(y)
        z = prior.sample(() if prior.batch_shape else (n,))
        return self.p_x(z, y)

    def reconstruct(self, batch: Batch) -> Distribution:
        """p(x|z) at the posterior mean of each datum, batch shape (B,)."""
        return self.p_x(self.q_z(batch.x, batch.y).mean, batch.y)

    def check_labels(self, y: Tensor | None) -> None:
        """Raises InputError for labels that are missing where read, or outside the classes."""
        if y is None:
            if self.reads_labels:
                raise InputError("this model reads labels: give it y, class labels of shape (B,).")
        elif self.num_classes is not None and not torch.all((y >= 0) & (y < self.num_classes)):
            raise InputError(
                f"labels must lie in 0..{self.num_classes - 1}, found "
                f"{int(y.min())}..{int(y.max())}."
            )

"""What every model promises."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.model.labels import needed_label
from vae_lab.model.likelihoods import Likelihood
from vae_lab.trace import Batch, Draw, Trace


class LatentVariableModel(nn.Module, ABC):
    """p(x, z) and q(z|x), together, whatever the layers of z."""

    likelihood: Likelihood

    def __init__(self, x_shape: Sequence[int], num_classes: int | None) -> None:
        """`x_shape` is the shape of one datum; `num_classes` is None without labels."""
        super().__init__()
        self.x_shape, self.num_classes = tuple(x_shape), num_classes

    @property
    @abstractmethod
    def num_units(self) -> int:
        """How many latent units a draw has, over all layers."""

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """How many each latent layer has, top to bottom."""
        return (self.num_units,)

    @property
    @abstractmethod
    def reads_labels(self) -> bool:
        """Whether the model is conditional, so that its evidence is log p(x|y)."""

    @property
    def observed(self) -> str:
        """What of x itself is given, in words: the evidence is of the rest alone; empty: nothing.

        Such a model completes data, and has no samples of its own.
        """
        return ""

    @abstractmethod
    def given(self, batch: Batch) -> Callable[[Draw], Trace]:
        """A pass over this batch that lacks only its draws: what no draw changes is computed once.

        So an evaluation that takes thousands of draws in chunks encodes once.
        """

    def forward(self, batch: Batch, draw: Draw) -> Trace:
        """One pass: all that the objective, the metrics and the evaluation read."""
        return self.given(batch)(draw)

    @abstractmethod
    def sample(self, n: int, y: Tensor | None) -> Distribution:
        """p(x|z) for n draws from the prior, batch shape (n,); y is (n,) where labels are read."""

    @abstractmethod
    def reconstruct(self, batch: Batch) -> Distribution:
        """p(x|z) at the centre of each datum's posterior, batch shape (B,)."""

    def observe(self, trace: Trace) -> None:
        """See the trace of one training step, for parts that are fitted in closed form."""
        self.likelihood.observe(trace.x, trace.p_x)

    def context(self) -> Context:
        """What parts that are built after the model may know of it."""
        return Context(self.x_shape, self.num_classes)

    def initialise(self, take: Callable[[int], Batch]) -> None:
        """Start from data, where a part does: `take(n)` gives n training data at random."""
        return

    def check_labels(self, y: Tensor | None) -> None:
        """Raises InputError for labels that are missing where read, or outside the classes."""
        if y is None:
            if self.reads_labels:
                needed_label(y)
        elif self.num_classes is not None and not torch.all((y >= 0) & (y < self.num_classes)):
            raise InputError(
                f"labels must lie in 0..{self.num_classes - 1}, found "
                f"{int(y.min())}..{int(y.max())}."
            )

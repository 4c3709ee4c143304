"""Completion: what is missing of an image, given one, two or three of its quadrants.

Sohn, Lee and Yan, Learning Structured Output Representation using Deep Conditional Generative
Models, 2015 (https://papers.nips.cc/paper/5775). An image x is x_o, the pixels that are given, and
x_m, the M that are missing. All figures are of log p(x_m|x_o): x_o is no part of what is explained.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import prod
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.arguments import Count, Sizes
from vae_lab.errors import InputError
from vae_lab.model.base import LatentVariableModel
from vae_lab.model.context import Context
from vae_lab.model.distributions.completed import Completed
from vae_lab.model.distributions.nothing import Nothing
from vae_lab.model.family import CodeFamily, Family
from vae_lab.model.likelihoods import Likelihood
from vae_lab.model.networks import NetworkPartial
from vae_lab.trace import Batch, Draw, Shape, Trace, centre

Quadrants = Annotated[int, Ge(1), Le(3), "1, 2 or 3"]

_GIVEN = ((True, False), (False, False), (False, True))
"""The quadrants in the order in which they are given: whether each is lower, and whether right."""
_WORDS = ("its lower left quadrant", "its left half", "all but its lower right quadrant")


def missing_pixels(x_shape: Shape, quadrants: int) -> list[int]:
    """Where in H * W, row by row, the pixels of images (C, H, W) are that are not given.

    Halves are rounded down: the middle of 5 rows is a lower one. Raises InputError for what are no
    images, or too small to have quadrants.

    >>> missing_pixels((1, 2, 4), 2)
    [2, 3, 6, 7]
    """
    if len(x_shape) != 3 or min(x_shape[1:]) < 2:
        raise InputError(
            f"quadrants are of images (C, H, W) of 2x2 pixels or more, not of {tuple(x_shape)}: "
            "choose other data, or another model."
        )
    _, height, width = x_shape
    return [
        row * width + column
        for row in range(height)
        for column in range(width)
        if (row >= height // 2, column >= width // 2) not in _GIVEN[:quadrants]
    ]


class Completion(LatentVariableModel, ABC):
    """p(x_m|x_o). A network guesses the parameters of x_m from x_o alone."""

    reads_labels = False
    missing: Tensor

    def __init__(
        self,
        x_shape: Sizes,
        num_classes: Count | None,
        quadrants: Quadrants,
        guess: NetworkPartial,
        likelihood: Callable[[Shape], Likelihood],
    ) -> None:
        """Raises InputError for data that have no quadrants, and where a part refuses its shape.

        Args:
            x_shape: Of one image, (C, H, W).
            num_classes: Of the labels, which are not read; None without labels.
            quadrants: How many are given: the lower left one, the upper left one too (the left
                half), or all but the lower right one.
            guess: The network from x_o, an image with 0 for what is missing, to an image of the
                likelihood's parameters, of which those of the missing pixels count.
            likelihood: The family of the missing pixels.
        """
        super().__init__(x_shape, num_classes)
        self.quadrants = quadrants
        missing, (channels, height, width) = missing_pixels(self.x_shape, quadrants), self.x_shape
        self.register_buffer("missing", torch.tensor(missing), persistent=False)
        self.likelihood = likelihood((channels, len(missing)))
        params, *pixels = self.likelihood.param_shape
        if pixels != [len(missing)]:
            raise InputError(
                f"{type(self.likelihood).__name__} does not take its parameters pixel by pixel, so "
                "that none can be left out: say model/likelihood=bernoulli, or another that does."
            )
        self.guess = guess(self.x_shape, (params, height, width))

    @property
    def observed(self) -> str:
        return _WORDS[self.quadrants - 1]

    def context(self) -> Context:
        return Context(self.likelihood.event_shape, self.num_classes)  # a datum is x_m

    def given_of(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """x_o as an image, (*batch, C, H, W), with `fill` for what is missing."""
        return x.flatten(-2).index_fill(-1, self.missing, fill).view_as(x)

    def missing_of(self, x: Tensor) -> Tensor:
        """x_m of x, or its parameters of those of x: (*batch, C, H, W) -> (*batch, C, M)."""
        return x.flatten(-2).index_select(-1, self.missing)

    def guess_of(self, x: Tensor) -> Tensor:
        """The parameters of x_m, guessed from x_o alone, (B, C, M)."""
        return self.missing_of(self.guess(self.given_of(x)))

    def completed(self, params: Tensor, x: Tensor) -> Distribution:
        """p(x|x_o), given those of x_m, (*batch, B, C, M): whole images."""
        return Completed(self.likelihood(params), x, self.missing)

    @abstractmethod
    def complete(self, batch: Batch, n: int) -> Distribution:
        """`n` completions of each datum, batch shape (n, B): p(x|x_o), given z drawn by x_o."""

    def sample(self, n: int, y: Tensor | None) -> Distribution:
        """Raises InputError: of which images are they to be the rest?"""
        raise InputError(
            f"this model completes an image, given {self.observed}, and draws none without: say "
            "load(RUN).complete(x, n)."
        )


class CompletionNetwork(Completion):
    """p(x_m|x_o) = likelihood(guess(x_o)), without a latent: the plain network.

    Its missing pixels are independent given x_o. It has no bound: its ELBO is log p(x_m|x_o).
    """

    num_units = 0

    def given(self, batch: Batch) -> Callable[[Draw], Trace]:
        x, params = self.missing_of(batch.x), self.guess_of(batch.x)
        p_x = self.likelihood(params.unsqueeze(0))  # (1, B): all draws share it
        nothing = Nothing(batch.x.shape[:1], params)

        def trace(draw: Draw) -> Trace:
            return Trace(x, batch.y, p_x, (draw(nothing, nothing),))

        return trace

    def complete(self, batch: Batch, n: int) -> Distribution:
        params = self.guess_of(batch.x)
        return self.completed(params.expand(n, *params.shape), batch.x)

    def p_x(self, x: Tensor) -> Distribution:
        """p(x|x_o), of the given pixels of x alone, batch shape (B,)."""
        return self.completed(self.guess_of(x), x)

    def reconstruct(self, batch: Batch) -> Distribution:
        return self.p_x(batch.x)


class CompletionVAE(Completion):
    """A conditional VAE of x_m, given x_o: q(z|x), p(z|x_o), p(x_m|z, x_o).

    q(z|x) = posterior(encoder(x)), p(z|x_o) = posterior(prior_encoder(x_o)), of the same family,
    and p(x_m|z, x_o) = likelihood(guess(x_o) + decoder(z)): what the plain network says, and what
    z makes of it.
    """

    def __init__(
        self,
        x_shape: Sizes,
        z_shape: Sizes,
        num_classes: Count | None,
        quadrants: Quadrants,
        encoder: NetworkPartial,
        prior_encoder: NetworkPartial,
        decoder: NetworkPartial,
        guess: NetworkPartial,
        posterior: Callable[[Shape], Family],
        likelihood: Callable[[Shape], Likelihood],
    ) -> None:
        """What is not said here is said of `Completion`, which raises the same.

        Args:
            x_shape: Of one image.
            z_shape: Of one draw of z, such as (32,).
            num_classes: Of the labels.
            quadrants: How many are given.
            encoder: The network from x to the parameters of q(z|x).
            prior_encoder: The network from x_o to the parameters of p(z|x_o).
            decoder: The network from z to what it adds to the guess, an image of parameters.
            guess: The network from x_o to such an image.
            posterior: The family of q(z|x), and of p(z|x_o).
            likelihood: The family of the missing pixels.
        """
        super().__init__(x_shape, num_classes, quadrants, guess, likelihood)
        self.z_shape = tuple(z_shape)
        self.posterior, self.prior = posterior(self.z_shape), posterior(self.z_shape)
        if isinstance(self.posterior, CodeFamily):
            raise InputError(
                "p(z|given) is of q(z|x)'s family, and would be all on one code here: say "
                "model/posterior=diagonal_gaussian."
            )
        self.encoder = encoder(self.x_shape, self.posterior.param_shape)
        self.prior_encoder = prior_encoder(self.x_shape, self.prior.param_shape)
        self.decoder = decoder(self.z_shape, self.guess.out_shape)

    @property
    def num_units(self) -> int:
        return prod(self.z_shape)

    def q_z(self, x: Tensor) -> Distribution:
        """q(z|x), of whole images x, (B, *X); batch shape (B,)."""
        q: Distribution = self.posterior(self.encoder(x))
        return q

    def p_z(self, x: Tensor) -> Distribution:
        """p(z|x_o), of the given pixels of x alone; batch shape (B,)."""
        p: Distribution = self.prior(self.prior_encoder(self.given_of(x)))
        return p

    def params(self, z: Tensor, guess: Tensor) -> Tensor:
        """Those of p(x_m|z, x_o), (*batch, B, C, M), for z (*batch, B, *Z)."""
        return guess + self.missing_of(self.decoder(z))

    def given(self, batch: Batch) -> Callable[[Draw], Trace]:
        q, p = self.q_z(batch.x), self.p_z(batch.x)
        x, guess = self.missing_of(batch.x), self.guess_of(batch.x)

        def trace(draw: Draw) -> Trace:
            latent = draw(q, p)
            return Trace(x, batch.y, self.likelihood(self.params(latent.z, guess)), (latent,))

        return trace

    def p_x(self, z: Tensor, x: Tensor) -> Distribution:
        """p(x|z, x_o), of the given pixels of x alone; batch shape that of z, (*batch, B, *Z)."""
        return self.completed(self.params(z, self.guess_of(x)), x)

    def complete(self, batch: Batch, n: int) -> Distribution:
        return self.p_x(self.p_z(batch.x).sample((n,)), batch.x)

    def reconstruct(self, batch: Batch) -> Distribution:
        return self.p_x(centre(self.q_z(batch.x)), batch.x)

"""The ladder VAE: several latent layers, each generated from the one above it.

Sønderby, Raiko, Maaløe, Sønderby and Winther, Ladder Variational Autoencoders, 2016
(https://arxiv.org/abs/1602.02282), without its batch normalisation: statistics of a batch would
make the value of a datum depend on the others.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Annotated

from annotated_types import MinLen
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.arguments import Count, Natural, Sizes
from vae_lab.errors import InputError
from vae_lab.model.base import LatentVariableModel
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.likelihoods import Likelihood
from vae_lab.model.networks.base import FeaturesPartial, PathPartial
from vae_lab.model.posteriors import DiagonalGaussian
from vae_lab.model.priors import Prior
from vae_lab.trace import Batch, Draw, Shape, Trace, centre


def merged(a: Distribution, b: Distribution) -> Distribution:
    """The product of two diagonal Gaussians, normalised: their means weighed by their precisions.

    >>> zero, three = (diagonal_normal(torch.tensor([m]), torch.ones(1), 1) for m in (0.0, 3.0))
    >>> merged(zero, three).mean, merged(zero, three).variance
    (tensor([1.5000]), tensor([0.5000]))
    """
    share = b.variance / (a.variance + b.variance)  # of a's precision in that of both
    mu, sigma = b.mean + share * (a.mean - b.mean), (a.variance * share).sqrt()
    return diagonal_normal(mu, sigma, len(b.event_shape))


class LadderVAE(LatentVariableModel):
    """p(z_L) ... p(z_l | z_{l+1}) ... p(x | z_1), and q(z_l | z_{l+1}, x) that knows both ways.

    On the way up, without noise, x says of each layer a Gaussian of its own; on the way down, the
    layer above says another, p(z_l | z_{l+1}). Where z is inferred, the two are `merged`; in the
    top layer, what x says is q. With one layer this is a plain VAE.
    """

    def __init__(
        self,
        x_shape: Sizes,
        num_classes: Count | None,
        units: Annotated[Sequence[Natural], MinLen(1)],
        encoder: FeaturesPartial,
        path: PathPartial,
        likelihood: Callable[[Shape], Likelihood],
        prior: Callable[[Context], Prior],
    ) -> None:
        """Raises InputError for units that do not fit the features, or where a part refuses.

        Args:
            x_shape: Of one datum, such as (1, 28, 28).
            num_classes: Of the labels; None without labels.
            units: Of z at each of the encoder's features, from x up: a vector's, or each pixel's
                of an image. Where there are 0, there is no layer.
            encoder: The way up: features of x.
            path: A step down, from z through the features' shapes to what lies below it; and to
                the side, from features to what they say of z.
            likelihood: The family of p(x|z_1).
            prior: That of the top layer, p(z_L) or p(z_L|y).
        """
        super().__init__(x_shape, num_classes)
        self.encoder, self.likelihood = encoder(self.x_shape), likelihood(self.x_shape)
        features = self.encoder.shapes
        _check(units, len(features))
        self.rungs = [rung for rung, count in enumerate(units) if count][::-1]
        """Which of the features have a layer, top to bottom."""
        families = [DiagonalGaussian((units[r], *features[r][1:])) for r in self.rungs]
        self.z_shapes = tuple(family.event_shape for family in families)
        """Of one draw of each layer, top to bottom."""
        self.sides, self.priors = nn.ModuleList(), nn.ModuleList()
        for rung, family in zip(self.rungs, families, strict=True):
            self.sides.append(nn.Sequential(path(features[rung], family.param_shape, []), family))
        for at, (above, here) in enumerate(pairwise(self.rungs)):
            through = features[here : above + 1][::-1]
            down = path(self.z_shapes[at], families[at + 1].param_shape, through)
            self.priors.append(nn.Sequential(down, families[at + 1]))  # p(z_l | z_{l+1})
        through = features[: self.rungs[-1] + 1][::-1]
        self.decoder = path(self.z_shapes[-1], self.likelihood.param_shape, through)
        context = Context(self.x_shape, num_classes, self.z_shapes[0], q_z=self.q_top)
        self.prior = prior(context)

    @property
    def num_units(self) -> int:
        return sum(self.layer_sizes)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        return tuple(map(prod, self.z_shapes))

    @property
    def reads_labels(self) -> bool:
        return self.prior.reads_labels

    def seen(self, x: Tensor) -> list[Distribution]:
        """What x (B, *X) says of each layer, batch shape (B,), top to bottom."""
        h = self.encoder(x)
        return [side(h[rung]) for side, rung in zip(self.sides, self.rungs, strict=True)]

    def q_top(self, x: Tensor, y: Tensor | None) -> Distribution:
        """q(z_L|x), batch shape (B,); y is not read."""
        return self.seen(x)[0]

    def p_x(self, z: Tensor) -> Distribution:
        """p(x|z_1), batch shape that of z, (*batch, *Z_1)."""
        p: Distribution = self.likelihood(self.decoder(z))
        return p

    def given(self, batch: Batch) -> Callable[[Draw], Trace]:
        top, *seen = self.seen(batch.x)
        p_top = self.prior(batch.y)

        def trace(draw: Draw) -> Trace:
            latents = [draw(top, p_top)]
            for prior, a in zip(self.priors, seen, strict=True):
                p = prior(latents[-1].z)  # batch shape (S, B)
                latents.append(draw(merged(a, p), p))
            return Trace(batch.x, batch.y, self.p_x(latents[-1].z), tuple(latents))

        return trace

    def sample(self, n: int, y: Tensor | None) -> Distribution:
        p = self.prior(y)
        return self.sample_below(p.sample(() if p.batch_shape else (n,)), 1)

    def sample_below(self, z: Tensor, held: int) -> Distribution:
        """p(x|z_1), all layers drawn but the `held` first, of which z (n, *Z) is the last.

        No other is asked for: what lies below a layer depends on those above through it alone.
        """
        for prior in self.priors[held - 1 :]:
            z = prior(z).sample()
        return self.p_x(z)

    def reconstruct(self, batch: Batch) -> Distribution:
        top, *seen = self.seen(batch.x)
        z = centre(top)
        for prior, a in zip(self.priors, seen, strict=True):
            z = centre(merged(a, prior(z)))
        return self.p_x(z)

    def initialise(self, take: Callable[[int], Batch]) -> None:
        self.prior.initialise(take)


def _check(units: Sequence[int], rungs: int) -> None:
    """Raise InputError unless there is a number for each rung, and a layer at the highest."""
    told = f"model.units={list(units)}".replace(" ", "")
    if len(units) != rungs:
        raise InputError(
            f"the ladder has {rungs} rungs, of model.encoder's channels and widths, and {told} is "
            f"for {len(units)}: give a number for each, from x up; 0 is no layer."
        )
    if not units[-1]:
        raise InputError(
            f"{told} has no layer at its top, whose features nothing would read: leave them out of "
            "model.encoder, or end in a number above 0."
        )

"""The ELBO with an adversary, for images that look like the data's.

Larsen, Soenderby, Larochelle and Winther, Autoencoding beyond pixels using a learned similarity
metric, 2016 (https://arxiv.org/abs/1512.09300); with labels: Bao, Chen, Wen, Li and Hua, CVAE-GAN,
2017 (https://arxiv.org/abs/1703.10155). An adversary that comes late, weighted by the norms of
gradients, beside a perceptual distance: Esser, Rombach and Ommer, Taming Transformers for
High-Resolution Image Synthesis, 2021 (https://arxiv.org/abs/2012.09841).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid

from vae_lab.arguments import Count, NonNegative, Positive
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.model.networks import NetworkPartial
from vae_lab.objectives.discriminator import Discriminator
from vae_lab.objectives.elbo import WeightedKL, monitor_of
from vae_lab.objectives.perceptual import PerceptualDistance
from vae_lab.objectives.schedules import Schedule
from vae_lab.support import Support
from vae_lab.trace import Trace, full_precision

MOST = 1e4
"""The largest ratio of two gradients that is followed, as in Esser et al."""


class Adversarial(WeightedKL):
    """log p(x|z) - beta KL, and a discriminator that pulls what is made towards the data.

    The two play a game, in which what one gains the other loses: it has no value to be maximised,
    but gradients. So **the value is log p(x|z) - beta KL alone**, in nats, which is logged and
    selects; the gradient is that of the value and of the game.

    The discriminator maximises log D(x) + log(1 - D(made)), of images made that are fixed. The
    model, the discriminator being fixed, maximises log D(made), and how alike x and the image made
    for it are: in the discriminator's features, and, without a discriminator, in a classifier's.
    Each of these terms is scaled, for each draw, so that it pulls at the parameters of p(x|z) so
    many times as hard as log p(x|z) does (the first where D(made) is 0). So a weight means the same
    under every likelihood, and no datum depends on another.

    An image is the mean of p(x|z); where x are bits it is a draw, with the mean's gradient: else a
    discriminator would tell grey from black and white, and nothing else. Of an estimator whose
    draws have no gradient, such as the score function, the game teaches the decoder alone.
    """

    def __init__(
        self,
        context: Context,
        beta: Schedule,
        network: NetworkPartial,
        features: Count,
        weight: NonNegative,
        matching: NonNegative,
        perceptual: NonNegative,
        samples: bool,
        start_epoch: NonNegative,
        ramp_epochs: Positive,
        lr: Positive,
    ) -> None:
        """Raises InputError for `samples` or `perceptual` where a model or its data have none.

        Args:
            context: The model's: where that reads labels, the discriminator does.
            beta: The weight of the KL over time.
            network: The discriminator's, from an image to its features.
            features: How many those are.
            weight: How hard the adversary pulls, beside log p(x|z); at 0, and with `perceptual` at
                0, the model is trained as without this.
            matching: How hard the match of the discriminator's features does, beside its odds.
            perceptual: How hard likeness to a classifier of the data pulls, beside log p(x|z), from
                the first step; 0: there is no classifier.
            samples: Whether images of z drawn from the prior are judged too, not only those of z
                drawn from the posterior.
            start_epoch: When the game begins; until then the discriminator stands still.
            ramp_epochs: How long its weight then rises.
            lr: The discriminator's learning rate.
        """
        super().__init__(context, beta)
        if samples and (context.p_x is None or context.z_shape is None):
            raise InputError(
                "objective.samples=true decodes draws from the prior of one latent layer, which "
                "this model does not offer: say objective.samples=false."
            )
        classes = context.num_classes if context.reads_labels else None
        self.discriminator = Discriminator(context.x_shape, classes, network, features)
        self.distance = _distance(context) if perceptual else None
        self.weight, self.matching, self.perceptual = weight, matching, perceptual
        self.start_epoch, self.ramp_epochs, self.lr = start_epoch, ramp_epochs, lr
        self.p_x, self.samples = context.p_x, samples
        self.of_bits = context.support is Support.BINARY

    @property
    def warmup_epochs(self) -> float:
        game = self.start_epoch + self.ramp_epochs if self.start_epoch else 0.0
        return max(super().warmup_epochs, game)

    @property
    def monitor(self) -> str:
        return monitor_of(self.beta)  # the game has no value

    def describe(self) -> str:
        late = f" from epoch {self.start_epoch + 1:g}" * (self.start_epoch > 0)
        pulls = [
            f"an adversary of weight {self.weight:g}{late}" * (self.weight > 0),
            f"a classifier's eye of weight {self.perceptual:g}" * (self.perceptual > 0),
        ]
        told = " and ".join(filter(None, pulls))
        game = f"{told}, in gradients and not in the value" if told else ""
        return ", ".join(filter(None, [super().describe(), game]))

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.discriminator.parameters()), "lr": self.lr}]

    def penalty(self, trace: Trace) -> Tensor:
        return trace.kl.sum(0)

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        nats = super().values(trace, epoch)
        if not torch.is_grad_enabled():
            return nats
        game = self.game(trace, epoch)
        return nats + (game - game.detach())

    def game(self, trace: Trace, epoch: Tensor) -> Tensor:
        """What is differentiated besides, (S, B): the model's terms, and the discriminator's."""
        y, made = trace.y, [self.image(p_x) for p_x in (trace.p_x, *self._from_prior(trace))]

        odds_x, of_x = self.discriminator(trace.x, y)
        own = logsigmoid(odds_x)
        for image in made:
            own = own + logsigmoid(-self.discriminator(image.detach(), y)[0]) / len(made)

        odds, features = zip(*(self.discriminator.frozen(image, y) for image in made), strict=True)
        match = -(features[0] - of_x.detach()).square().sum(-1) / 2  # (S, B)
        scale = gradient_ratio(trace.log_px, odds[0], trace.p_x) / len(made)
        pull = self.matching * gradient_ratio(trace.log_px, match, trace.p_x) * match
        for each in odds:
            pull = pull + scale * logsigmoid(each)

        begun = epoch >= self.start_epoch
        risen = ((epoch - self.start_epoch) / self.ramp_epochs).clamp(0, 1)
        game = begun * own + self.weight * risen * pull
        if self.distance is None:
            return game
        alike = -self.distance(made[0], trace.x)
        return game + self.perceptual * gradient_ratio(trace.log_px, alike, trace.p_x) * alike

    def image(self, p_x: Distribution) -> Tensor:
        """What the discriminator sees of p(x|z), (*batch, *X)."""
        mean = p_x.mean
        return p_x.sample() + (mean - mean.detach()) if self.of_bits else mean

    def _from_prior(self, trace: Trace) -> Iterator[Distribution]:
        """p(x|z) of one z from the prior for each datum, under its label, batch shape (1, B)."""
        if self.samples:
            assert self.p_x is not None
            p, (_, size) = trace.latents[0].p, trace.log_px.shape
            z = p.sample((1,) if p.batch_shape else (1, size))
            yield self.p_x(z, trace.y)


def _distance(context: Context) -> PerceptualDistance:
    if context.classifier is None:
        raise InputError(
            "objective.perceptual needs images with labels, of which a classifier is trained: say "
            "objective.perceptual=0."
        )
    return PerceptualDistance(context.classifier())


@full_precision
def gradient_ratio(one: Tensor, other: Tensor, p_x: Distribution) -> Tensor:
    """|d one| / |d other| of each draw, (S, B), at those parameters of p(x|z) that both depend on.

    It has no gradient, and is at most `MOST`.

    Args:
        one: A value of each draw, (S, B), that depends on its own p(x|z) alone.
        other: Another.
        p_x: p(x|z), batch shape (S, B).
    """
    parameters = list(_parameters(p_x))
    slopes = (
        torch.autograd.grad(value.sum(), parameters, retain_graph=True, allow_unused=True)
        for value in (one, other)
    )
    both = [(a, b) for a, b in zip(*slopes, strict=True) if a is not None and b is not None]
    above, below = (
        torch.stack([slope.flatten(2).square().sum(2) for slope in each]).sum(0).sqrt()
        for each in zip(*both, strict=True)
    )  # (S, B)
    return (above / below.clamp(min=torch.finfo(below.dtype).tiny)).clamp(max=MOST)


def _parameters(p: Distribution) -> Iterator[Tensor]:
    """The tensors that a distribution, or one within it, is made of, and that have a gradient."""
    for value in vars(p).values():
        if isinstance(value, Distribution):
            yield from _parameters(value)
        elif isinstance(value, Tensor) and value.requires_grad:
            yield value

"""How noisy the gradient of q(z|x) is: estimators side by side on the same model and data.

Rainforth et al., Tighter Variational Bounds Are Not Necessarily Better, 2018
(https://arxiv.org/abs/1802.04537), tell estimators apart by their signal-to-noise.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import inf, nan

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vae_lab.errors import InputError
from vae_lab.estimators import Estimator, sampled
from vae_lab.model import LatentVariableModel
from vae_lab.objectives import Objective
from vae_lab.seeding import reseed
from vae_lab.trace import Batch

Ways = Mapping[str, tuple[Objective, Estimator]]
"""By name, what is maximised, and how its gradient is estimated."""


@dataclass(frozen=True)
class GradientNoise:
    """What R estimates of one gradient, that of the batch's mean objective in nats, say together.

    Attributes:
        num_draws: S, of the estimator.
        mean: The mean gradient, (P,), of all parameters that q(z|x) depends on.
        variance: Of one estimate, summed over the P parameters.
        signal_to_noise: The norm of the true gradient, as the mean tells it less its own noise,
            over the root of the variance.
    """

    num_draws: int
    mean: Tensor
    variance: float
    signal_to_noise: float


def gradient_noise(
    model: LatentVariableModel, batch: Batch, ways: Ways, repeats: int = 200, seed: int = 0
) -> dict[str, GradientNoise]:
    """Estimate the gradient of q's parameters `repeats` times by each way.

    The weights, the data and torch's generators stay as they were, and so do the estimators: a
    moving baseline is that of a copy, which sees each estimate as training would show it.

    Args:
        model: On the device of the batch.
        batch: The data.
        ways: Objectives, with schedules at rest, and estimators.
        repeats: R, 2 or more.
        seed: Of the draws, the same for every way.

    Raises:
        InputError: For an estimator that does not serve the objective or the posterior, and for a
            q(z|x) without parameters to be learned.
    """
    with torch.random.fork_rng():
        return {name: _noise(model, batch, *way, repeats, seed) for name, way in ways.items()}


def _noise(
    model: LatentVariableModel,
    batch: Batch,
    objective: Objective,
    estimator: Estimator,
    repeats: int,
    seed: int,
) -> GradientNoise:
    phi, estimator = parameters_of_q(model, batch), deepcopy(estimator)
    epoch = torch.full((), inf, device=batch.x.device)
    total, squares = torch.zeros(()), torch.zeros(())
    for repeat in range(-1, repeats):  # the first is for the baselines alone
        reseed(batch.x.device, seed, "gradients", repeat)
        trace = model(batch, estimator.draw)
        values = objective.values(trace, epoch)
        loss = estimator.surrogate(objective, values, trace).mean()
        estimator.observe(values.detach())
        if repeat >= 0:
            found = torch.autograd.grad(loss, phi, materialize_grads=True)
            gradient = torch.cat([each.flatten() for each in found]).double()
            total, squares = total + gradient, squares + gradient.square()
    mean = total / repeats
    spread = (squares / repeats - mean.square()).clamp(min=0).sum()
    variance = float(spread) * repeats / (repeats - 1)
    signal = max(float(mean.square().sum()) - variance / repeats, 0.0) ** 0.5
    noise = variance**0.5
    return GradientNoise(estimator.num_draws, mean, variance, signal / noise if noise else inf)


def parameters_of_q(model: LatentVariableModel, batch: Batch) -> list[Tensor]:
    """The parameters that the density of q(z|x) depends on: the encoder's.

    Raises InputError where there are none.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    trace = model(batch, sampled(1))
    log_q = torch.stack([latent.q.log_prob(latent.z).sum() for latent in trace.latents]).sum()
    if not log_q.requires_grad:
        raise InputError("this model's q(z|x) has no density that parameters change.")
    slopes = torch.autograd.grad(log_q, weights, allow_unused=True)
    return [weight for weight, slope in zip(weights, slopes, strict=True) if slope is not None]


def noise_figure(found: Sequence[Mapping[str, GradientNoise]]) -> Figure:
    """Variance and signal-to-noise against the number of draws, a line a way.

    What is zero is left out. `found` is what `gradient_noise` found, once for each number of draws.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = {"variance": "variance of the gradient", "signal_to_noise": "signal-to-noise"}
    for axes, (name, title) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for way in dict.fromkeys(way for each in found for way in each):
            points = [each[way] for each in found if way in each]
            draws = [each.num_draws for each in points]
            heights = [getattr(each, name) or nan for each in points]
            axes.plot(draws, heights, ".-", label=way)
        axes.set(title=title, xlabel="draws per datum", xscale="log", yscale="log")
        ticks = sorted({each.num_draws for some in found for each in some.values()})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
    axes.legend(fontsize=8)
    return figure

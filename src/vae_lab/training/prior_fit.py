"""A prior fitted afterwards to the codes of a trained model, by maximum likelihood.

Dai and Wipf, Diagnosing and Enhancing VAE Models, 2019 (https://arxiv.org/abs/1903.05789); Ghosh
et al., From Variational to Deterministic Autoencoders, 2020 (https://arxiv.org/abs/1903.12436).
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.arguments import Count, Positive, Seed, check_fields
from vae_lab.errors import InputError
from vae_lab.model import VAE
from vae_lab.model.priors.standardized import Standardized
from vae_lab.seeding import reseed, seeded_generator
from vae_lab.trace import Batch, full_precision


@dataclass(frozen=True)
class FitSettings:
    """How a prior is fitted; `conf/fit_prior.yaml` gives the defaults.

    Raises InputError for a value that makes no sense.

    Attributes:
        epochs: At most.
        patience: Epochs without a better NLL of the held-out codes, after which it stops.
        lr: Adam's.
        batch_size: Codes a step.
        seed: Of the prior's weights, where EM starts, the codes that are drawn, and their order.
    """

    epochs: Count
    patience: Count
    lr: Positive
    batch_size: Count
    seed: Seed

    def __post_init__(self) -> None:
        check_fields(self, "fit_prior")


@dataclass(frozen=True)
class Draws:
    """Of the aggregate posterior: one of q(z|x) for each datum, with its label."""

    z: Tensor  # (N, *Z)
    y: Tensor | None  # (N,)

    def __getitem__(self, items: Tensor) -> "Draws":
        """Some of them."""
        return Draws(self.z[items], None if self.y is None else self.y[items])


@torch.no_grad()
def aggregate_draws(model: VAE, batches: Iterable[Batch], split: str, seed: int) -> Draws:
    """A code of each datum of a `split`, on the model's device; of a point mass, its value."""
    found = []
    for number, batch in enumerate(batches):
        reseed(batch.x.device, seed, "codes", split, number)
        found.append(Draws(model.q_z(batch.x, batch.y).sample(), batch.y))
    labels = [part.y for part in found if part.y is not None]
    return Draws(torch.cat([part.z for part in found]), torch.cat(labels) if labels else None)


PriorOf = Callable[[Tensor | None], Distribution]


@full_precision
def nll(prior: PriorOf, some: Draws) -> Tensor:
    """-log p(z), or -log p(z|y), of each code, (N,), in nats."""
    return -prior(some.y).log_prob(some.z)


@torch.no_grad()
def nll_of_all(prior: PriorOf, some: Draws, batch_size: int = 1000) -> Tensor:
    """The same, a batch at a time, without a gradient, in float64 on the CPU."""
    places = torch.arange(len(some.z), device=some.z.device).split(batch_size)
    return torch.cat([nll(prior, some[at]).double().cpu() for at in places])


def fit(
    prior: Standardized,
    train: Draws,
    held_out: Draws,
    settings: FitSettings,
    watch: Callable[[int, float], None] = lambda epoch, value: None,
) -> int:
    """Maximise the likelihood of codes; the prior keeps the weights that held-out ones like best.

    It starts from the codes where it can, as mixtures do by EM, unless held-out ones like it less
    so, which happens where codes are few; Adam goes on from there.

    Args:
        prior: What is fitted, in units that are those of the codes.
        train: What it is fitted to.
        held_out: What says when to stop.
        settings: How.
        watch: Is told each epoch, and the mean NLL of the held-out codes after it; 0 is the start.

    Returns:
        The best epoch, 0 where none was better than the start.

    Raises:
        InputError: Where the NLL is NaN or infinite.
    """
    wrong = "from the start: the model's codes are no numbers, choose another checkpoint"
    best, kept = _worth(prior, held_out, wrong), copy.deepcopy(prior.state_dict())
    prior.start_from(train.z, train.y, settings.seed)
    if (found := _worth(prior, held_out, wrong)) < best:
        best, kept = found, copy.deepcopy(prior.state_dict())
    prior.load_state_dict(kept)
    watch(0, best)
    optimizer, best_epoch = torch.optim.Adam(prior.parameters(), lr=settings.lr), 0
    for epoch in range(1, settings.epochs + 1):
        order = torch.randperm(len(train.z), generator=seeded_generator(settings.seed, epoch))
        for items in order.to(train.z.device).split(settings.batch_size):
            optimizer.zero_grad()
            nll(prior, train[items]).mean().backward()
            optimizer.step()
        wrong = f"in epoch {epoch}: try a smaller fit_prior.lr"
        found = _worth(prior, held_out, wrong)
        watch(epoch, found)
        if found < best:
            best, best_epoch, kept = found, epoch, copy.deepcopy(prior.state_dict())
        if epoch - best_epoch >= settings.patience:
            break
    prior.load_state_dict(kept)
    return best_epoch


def _worth(prior: PriorOf, held_out: Draws, wrong: str) -> float:
    """The mean NLL of held-out codes. Raises InputError, ending in `wrong`, where that is NaN."""
    found = float(nll_of_all(prior, held_out).mean())
    if not abs(found) < float("inf"):
        raise InputError(f"the NLL of the codes is NaN or infinite {wrong}.")
    return found

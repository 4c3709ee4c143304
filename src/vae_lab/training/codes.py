"""A prior fitted afterwards to the codes of a trained model, by maximum likelihood.

Dai and Wipf, Diagnosing and Enhancing VAE Models, 2019 (https://arxiv.org/abs/1903.05789); Ghosh
et al., From Variational to Deterministic Autoencoders, 2020 (https://arxiv.org/abs/1903.12436).
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.arguments import Count, Positive, Seed, check_fields
from vae_lab.errors import InputError
from vae_lab.model import VAE
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
        seed: Of the prior's weights, the codes that are drawn, and their order.
    """

    epochs: Count
    patience: Count
    lr: Positive
    batch_size: Count
    seed: Seed

    def __post_init__(self) -> None:
        check_fields(self, "fit_prior")


@dataclass(frozen=True)
class Codes:
    """What the encoder makes of data."""

    z: Tensor  # (N, *Z), one draw of q(z|x) each: together the aggregate posterior
    y: Tensor | None  # (N,)

    def __getitem__(self, items: Tensor) -> "Codes":
        """Some of them."""
        return Codes(self.z[items], None if self.y is None else self.y[items])


@torch.no_grad()
def codes(model: VAE, batches: Iterable[Batch], split: str, seed: int) -> Codes:
    """The codes of a `split`, on the model's device; those of a point mass are its values."""
    found = []
    for number, batch in enumerate(batches):
        reseed(batch.x.device, seed, "codes", split, number)
        found.append(Codes(model.q_z(batch.x, batch.y).sample(), batch.y))
    labels = [part.y for part in found if part.y is not None]
    return Codes(torch.cat([part.z for part in found]), torch.cat(labels) if labels else None)


PriorOf = Callable[[Tensor | None], Distribution]


@full_precision
def nll(prior: PriorOf, some: Codes) -> Tensor:
    """-log p(z), or -log p(z|y), of each code, (N,), in nats."""
    return -prior(some.y).log_prob(some.z)


@torch.no_grad()
def nll_of_all(prior: PriorOf, some: Codes, batch_size: int = 1000) -> Tensor:
    """The same, a batch at a time, without a gradient, in float64 on the CPU."""
    places = torch.arange(len(some.z), device=some.z.device).split(batch_size)
    return torch.cat([nll(prior, some[at]).double().cpu() for at in places])


def fit(
    prior: nn.Module,
    train: Codes,
    held_out: Codes,
    settings: FitSettings,
    watch: Callable[[int, float], None] = lambda epoch, value: None,
) -> int:
    """Maximise the likelihood of codes; the prior keeps the weights that held-out ones like best.

    Args:
        prior: A `PriorOf` with weights, such as a `Standardized` one.
        train: What it is fitted to.
        held_out: What says when to stop.
        settings: How.
        watch: Is told each epoch, from 1, and the mean NLL of the held-out codes after it.

    Returns:
        The best epoch.

    Raises:
        InputError: Where the NLL is NaN or infinite.
    """
    optimizer = torch.optim.Adam(prior.parameters(), lr=settings.lr)
    best, best_epoch, kept = float("inf"), 0, copy.deepcopy(prior.state_dict())
    for epoch in range(1, settings.epochs + 1):
        order = torch.randperm(len(train.z), generator=seeded_generator(settings.seed, epoch))
        for items in order.to(train.z.device).split(settings.batch_size):
            optimizer.zero_grad()
            nll(prior, train[items]).mean().backward()
            optimizer.step()
        found = float(nll_of_all(prior, held_out).mean())
        if not abs(found) < float("inf"):
            raise InputError(
                f"the prior became NaN or infinite in epoch {epoch}: try a smaller fit_prior.lr."
            )
        watch(epoch, found)
        if found < best:
            best, best_epoch, kept = found, epoch, copy.deepcopy(prior.state_dict())
        if epoch - best_epoch >= settings.patience:
            break
    prior.load_state_dict(kept)
    return best_epoch

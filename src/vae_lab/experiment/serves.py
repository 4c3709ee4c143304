"""Which estimators serve which objectives, posteriors and models: one step of each tells."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from vae_lab.config import build
from vae_lab.config.complete import with_facts
from vae_lab.config.compose import choices, compose_config, needs
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError
from vae_lab.estimators import Estimator
from vae_lab.experiment.first_pass import first_pass
from vae_lab.objectives import IWAE

GROUPS = ("objective", "model/posterior", "model")
_DATA = ("data=digits", "data.limit=64")


class Cell(NamedTuple):
    """What came of one estimator with one choice."""

    estimator: str
    group: str  # such as "model/posterior"
    choice: str  # of the group
    under: str  # "iwae", where that alone makes them fit
    reason: str  # why it is refused, in one line; empty where it is not


def cells(overrides: Sequence[str] = ()) -> Iterator[Cell]:
    """Try every estimator with every objective, posterior and model, on embedded digits.

    Each has beside it what its YAML says that it needs. A model and a posterior have their
    objective, the ELBO where they name no other, and, where that is refused, IWAE.

    Args:
        overrides: For every one of them, such as `hydra.searchpath=[FOLDER]`, whose choices
            belong to the table too.
    """
    said = [*_DATA, *overrides]
    data = build.data(compose_config("train", said))
    estimators = {name: _estimator(name, said) for name in choices("estimator", overrides)}
    for group in GROUPS:
        for choice in choices(group, overrides):
            chosen = [*said, f"{group}={choice}", *needs(group, choice, overrides)]
            for name, under, reason in _try(group, chosen, data, estimators):
                yield Cell(name, group, choice, under, reason)


def _estimator(name: str, said: Sequence[str]) -> Estimator:
    """With two draws, which all of them and every objective can do with."""
    cfg = compose_config("train", [*said, f"estimator={name}", "estimator.num_draws=2"])
    built: Estimator = build.instance(cfg.estimator, "estimator")
    return built


def _try(
    group: str, chosen: list[str], data: ImageDataModule, estimators: dict[str, Estimator]
) -> Iterator[tuple[str, str, str]]:
    """For each estimator its name, what it is served under, and why it is refused."""
    try:
        module = build.training(with_facts(compose_config("train", chosen), data), data, {})
    except InputError as error:
        for name in estimators:
            yield name, "", str(error)
        return
    batch = next(data.batches("train", 2, torch.device("cpu")))
    objectives = {"": module.objective}
    if group != "objective":
        objectives["iwae"] = IWAE(module.model.context())
    for name, estimator in estimators.items():
        reasons = {}
        for under, objective in objectives.items():
            module.objective, module.estimator = objective, estimator
            module.zero_grad()
            try:
                first_pass(module, batch)
                yield name, under, ""
                break
            except InputError as error:
                reasons[under] = str(error)
        else:
            yield name, "", reasons[""]

"""Which estimators serve which objectives, posteriors and models: one step of each tells."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch

from vae_lab.config import build
from vae_lab.config.complete import with_facts
from vae_lab.config.compose import compose_config, conf_dir
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError
from vae_lab.estimators import Estimator
from vae_lab.experiment.first_pass import first_pass
from vae_lab.objectives import IWAE

GROUPS = ("objective", "model/posterior", "model")
_DATA = ("data=digits", "data.limit=64")
_Z_SHAPES = ("[4]", "[4,3]")  # a vector, and one-hot rows


class Cell(NamedTuple):
    """What came of one estimator with one choice."""

    estimator: str
    group: str  # such as "model/posterior"
    choice: str  # of the group
    under: str  # "iwae", where that alone makes them fit
    reason: str  # why it is refused, in one line; empty where it is not


def choices(group: str) -> list[str]:
    """The parts of a group of the configuration, by name."""
    return sorted(path.stem for path in (conf_dir() / group).glob("[!_]*.yaml"))


def cells() -> Iterator[Cell]:
    """Try every estimator with every objective, posterior and model, on embedded digits.

    An objective has the usual model. A model and a posterior have the ELBO and, where that is
    refused, IWAE; a posterior, besides, the first prior and shape of z that let anything serve it.
    """
    data = build.data(compose_config("train", _DATA))
    estimators = {name: _estimator(name) for name in choices("estimator")}
    for group in GROUPS:
        for choice in choices(group):
            tries = (_try(group, [choice, *more], data, estimators) for more in _beside(group))
            yield from _best(tries)


def _beside(group: str) -> Iterator[list[str]]:
    """What else to choose, one after the other, until an estimator serves."""
    if group != "model/posterior":
        yield []
        return
    priors = sorted(choices("model/prior"), key=lambda name: name != "standard_normal")
    for z_shape, prior in itertools.product(_Z_SHAPES, priors):
        yield [f"model.z_shape={z_shape}", f"model/prior={prior}"]


def _best(tries: Iterable[list[Cell]]) -> list[Cell]:
    """The first that has a cell without a reason, else the first of all."""
    first: list[Cell] = []
    for found in tries:
        if not all(cell.reason for cell in found):
            return found
        first = first or found
    return first


def _estimator(name: str) -> Estimator:
    """With two draws, which all of them and every objective can do with."""
    cfg = compose_config("train", [*_DATA, f"estimator={name}", "estimator.num_draws=2"])
    built: Estimator = build.instance(cfg.estimator, "estimator")
    return built


def _try(
    group: str, chosen: list[str], data: ImageDataModule, estimators: dict[str, Estimator]
) -> list[Cell]:
    choice, *more = chosen
    try:
        cfg = with_facts(compose_config("train", [*_DATA, f"{group}={choice}", *more]), data)
        module = build.training(cfg, data, {})
    except InputError as error:
        return [Cell(name, group, choice, "", str(error)) for name in estimators]
    batch = next(data.batches("train", 2, torch.device("cpu")))
    objectives = {"": module.objective}
    if group != "objective":
        objectives["iwae"] = IWAE(module.model.context())
    found = []
    for name, estimator in estimators.items():
        reasons = {}
        for under, objective in objectives.items():
            module.objective, module.estimator = objective, estimator
            module.zero_grad()
            try:
                first_pass(module, batch)
                found.append(Cell(name, group, choice, under, ""))
                break
            except InputError as error:
                reasons[under] = str(error)
        else:
            found.append(Cell(name, group, choice, "", reasons[""]))
    return found

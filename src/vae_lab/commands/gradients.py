"""The gradients command: how noisy each estimator's gradient is on a trained model."""

import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from vae_lab.commands.cli import wanted_checkpoint
from vae_lab.commands.run_data import check_place, device_of, run_data
from vae_lab.config import build
from vae_lab.config.compose import choices, compose_config, searchpath
from vae_lab.config.restore import objective_from_checkpoint
from vae_lab.config.settings import GradientSettings, check_settings
from vae_lab.errors import InputError, explained, out_of_memory
from vae_lab.evaluation.figures import save_figures
from vae_lab.evaluation.gradients import GradientNoise, gradient_noise, noise_figure
from vae_lab.model.context import Context
from vae_lab.objectives import ELBO, IWAE, Constant, Objective
from vae_lab.storage.checkpoint import run_folder
from vae_lab.storage.files import atomic_file
from vae_lab.terminal import say
from vae_lab.trained import load

OBJECTIVES: dict[str, Callable[[Context], Objective]] = {
    "elbo": partial(ELBO, beta=Constant()),
    "iwae": IWAE,
}


def gradients_task(cfg: DictConfig) -> None:
    """The gradients command: measure `run`, write gradients.json and .png, print a table.

    Of every estimator in conf/estimator, and in the command line's own folders, that serves the
    run's model, under the ELBO and IWAE; and of the run's own estimator under its own objective.

    Raises InputError, before any work, for settings or a run that cannot be measured.
    """
    path, asked, console = wanted_checkpoint(cfg), cfg.gradients, Console()
    check_settings(asked, [GradientSettings], "gradients.")
    device = device_of(asked, "gradients")
    out = run_folder(path) / "evaluation"
    written = out / "gradients.json", out / "gradients.png"
    check_place(*written, fix="move it away, or measure a copy of the run, in a folder that can")
    trained = load(path, device)
    data = run_data(trained, asked, "gradients")
    batch = data.random_items("train", asked.batch_size, device, asked.seed)
    context = build.context_of(trained.model, data)
    measure = partial(gradient_noise, trained.model, batch, repeats=asked.repeats, seed=asked.seed)
    own = trained.record["config"]
    trained_by: Way = (partial(objective_from_checkpoint, path), own["estimator"])
    found: list[dict[str, GradientNoise]] = []
    refused: dict[str, str] = {}
    ways = [*_ways(asked.num_draws), {"the run's own": trained_by}]
    with explained(lambda error: out_of_memory(error, lower=SIZES)):
        for some in track(ways, "draws", console=Console(stderr=True), transient=True):
            found.append({})
            for way, (kind, node) in some.items():
                try:
                    estimator = build.instance(node, "estimator").to(device)
                    found[-1] |= measure({way: (kind(context).to(device), estimator)})
                except InputError as error:
                    refused[way] = str(error).replace("estimator.num", "gradients.num")
    if not any(found):
        reasons = " ".join(dict.fromkeys(refused.values()))
        raise InputError(f"nothing to measure: {reasons}")
    save_figures({"gradients": noise_figure(found)}, out)
    report = {
        "settings": OmegaConf.to_container(asked, resolve=True),
        "checkpoint": trained.record["checkpoint"],
        "measure": trained.record["measure"],
        "gradients": [row for each in found for row in _rows(each)],
    }
    with atomic_file(written[0]) as part:
        part.write_text(json.dumps(report, indent=2) + "\n")
    _print(report["gradients"], console)
    for way, reason in refused.items():
        if not any(way in each for each in found):
            say(console, f"{way}: {reason}")
    say(console, f"Written: {written[0]} and gradients.png")


SIZES = "gradients.num_draws or gradients.batch_size"
Way = tuple[Callable[[Context], Objective], Any]  # an objective, and an estimator's configuration


def _ways(num_draws: Iterable[int]) -> list[dict[str, Way]]:
    """For each number of draws every objective with every estimator, by their names."""
    folders = searchpath(sys.argv[1:])
    nodes = {
        name: compose_config("train", [*folders, f"estimator={name}"]).estimator
        for name in choices("estimator", sys.argv[1:])
    }
    return [
        {
            f"{objective} {name}": (kind, {**node, "num_draws": draws})
            for objective, kind in OBJECTIVES.items()
            for name, node in nodes.items()
        }
        for draws in num_draws
    ]


def _rows(found: dict[str, GradientNoise]) -> list[dict[str, Any]]:
    return [
        {
            "way": way,
            "num_draws": noise.num_draws,
            "variance": noise.variance,
            "signal_to_noise": noise.signal_to_noise,
        }
        for way, noise in found.items()
    ]


def _print(rows: list[dict[str, Any]], console: Console) -> None:
    numbers = (Column(name, justify="right") for name in ("draws", "variance", "signal-to-noise"))
    table = Table("objective and estimator", *numbers)
    for row in sorted(rows, key=lambda row: row["way"]):
        noise = (f"{row[name]:.3g}" for name in ("variance", "signal_to_noise"))
        table.add_row(row["way"], str(row["num_draws"]), *noise)
    console.print(table)

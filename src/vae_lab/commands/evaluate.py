"""The evaluate command: score a run on its test split."""

import json
import time
from dataclasses import asdict
from errno import EISDIR
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table

from vae_lab.commands.cli import tell_error, wanted_checkpoints
from vae_lab.commands.run_data import device_of, run_data
from vae_lab.config.allowed import trusted
from vae_lab.config.settings import EvaluateSettings, check_settings, settings_from
from vae_lab.cpu import at_full_speed
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError, cannot_write, explained
from vae_lab.evaluation.bound import bound
from vae_lab.evaluation.draws import DrawCheck
from vae_lab.evaluation.evidence import memory_for
from vae_lab.evaluation.fidelity import UNITS
from vae_lab.evaluation.figures import plot_all, save_figures
from vae_lab.evaluation.measure import Measure
from vae_lab.evaluation.score import Scores, ScoreSettings, score
from vae_lab.model.priors.standardized import Standardized
from vae_lab.storage.checkpoint import run_folder
from vae_lab.storage.files import atomic_file
from vae_lab.storage.provenance import commit, device_name, versions
from vae_lab.terminal import say
from vae_lab.trained import TrainedVAE, load


def evaluate_task(cfg: DictConfig) -> None:
    """The evaluate command: score `run`, write evaluation.json and evaluation/*.png, print a table.

    The training's own figures stay. Of a folder of runs, such as a sweep's, each is scored; one
    that cannot be is told of, and the others go on.

    Raises InputError, before any work, for settings or a run that cannot be scored.
    """
    paths, asked = wanted_checkpoints(cfg), cfg.evaluate
    check_settings(asked, [EvaluateSettings, ScoreSettings], "evaluate.")
    if len(paths) == 1:
        return _evaluate(paths[0], asked)
    if asked.out:
        raise InputError(f"{cfg.run} holds {len(paths)} runs: leave out evaluate.out.")
    lost = 0
    for path in paths:
        try:
            _evaluate(path, asked)
        except InputError as error:
            lost += 1
            tell_error(error, f" ({run_folder(path)})")
    if lost:
        raise InputError(f"{lost} of {len(paths)} runs could not be scored.")


def _evaluate(path: Path, asked: DictConfig) -> None:
    settings = settings_from(asked, ScoreSettings)
    device = device_of(asked, "evaluate")
    trained = load(path, device)
    fitted, not_judged = _fitted_prior(trained)
    data = run_data(trained, asked, "evaluate")
    if not len(data.splits["test"]):
        raise InputError("the run kept no test split: train with data.test_size above 0.")
    out = Path(str(asked.out)) if asked.out else run_folder(path)
    writing = partial(cannot_write, out, "set evaluate.out to another folder")
    with explained(writing):
        (out / "evaluation").mkdir(parents=True, exist_ok=True)
        if (out / "evaluation.json").is_dir():
            raise IsADirectoryError(EISDIR, "is a folder", str(out / "evaluation.json"))
    started = time.monotonic()
    with at_full_speed():
        scores = score(trained.model, trained.preparation, data, settings, fitted)
    scores.notes.extend(not_judged)
    report = {
        "estimates": {name: asdict(estimate) for name, estimate in scores.estimates.items()},
        "bound": {k: asdict(estimate) for k, estimate in scores.bound.items()},
        "draws": scores.draws and {**asdict(scores.draws), "doubts": scores.draws.doubts()},
        **_origin(trained, data, settings, scores, device),
        "seconds": round(time.monotonic() - started, 1),
    }
    shown = data.random_items("test", 1000, device, seed=0)  # as the training's figures do
    with explained(writing):
        with atomic_file(out / "evaluation.json") as part:
            part.write_text(json.dumps(report, indent=2) + "\n")
        figures = plot_all(trained.model, shown, "test")
        if scores.bound:
            figures["bound"] = bound(scores.bound)
        save_figures(figures, out / "evaluation")
    _print(report, scores.draws, out)


def _fitted_prior(trained: TrainedVAE) -> tuple[Standardized | None, list[str]]:
    """The prior fitted afterwards, if one was; a note where it is of no use here."""
    try:
        return trained.fitted_prior, []
    except InputError as error:
        return None, [f"the prior that was fitted afterwards is not judged: {error}"]


def _origin(
    trained: TrainedVAE,
    data: ImageDataModule,
    settings: ScoreSettings,
    scores: Scores,
    device: torch.device,
) -> dict[str, Any]:
    """All that an estimate must carry to mean something."""
    record, model = trained.record, trained.model
    config = record["config"]
    items = min(len(data.splits["test"]), settings.limit or len(data.splits["test"]))
    return {
        "measure": record["measure"],
        "comparable": scores.comparable,
        "notes": scores.notes,
        "num_draws": scores.num_draws,
        "draw_seed": settings.seed,
        "items": items,
        "of_test_items": len(data.splits["test"]),
        "preparation_seed": data.eval_seed if trained.preparation.is_random else None,
        "batch_size": settings.batch_size,
        "memory_mib": (memory_for(device) if settings.memory_mib is None else settings.memory_mib),
        "model": config["name"],
        "likelihood": type(model.likelihood).__name__,
        "latent_units": model.num_units,
        "parameters": record["parameters"],
        "checkpoint": record["checkpoint"],
        "epochs": record["epoch"] + 1,  # that this checkpoint has seen, the last one begun included
        "step": record["step"],
        "training": {
            "seed": config["seed"],
            "batch_size": config["data"]["batch_size"],
            **{
                part: config.get(part)
                for part in ("objective", "estimator", "optimizer", "scheduler")
            },
            "ema": config.get("ema"),
        },
        "training_seconds": round(record["seconds"], 1),
        "training_commit": record["commit"],
        "commit": commit(*trusted()),
        "ema": bool(config.get("ema")),
        "device": device_name(device),
        "versions": versions(),
    }


def _print(report: dict[str, Any], draws: DrawCheck | None, out: Path) -> None:
    console = Console()
    subset = "" if report["items"] == report["of_test_items"] else f" of {report['of_test_items']}"
    for line in (
        f"{report['model']}, seed {report['training']['seed']}: {report['checkpoint']} of epoch "
        f"{report['epochs']}, step {report['step']}",
        f"{report['items']}{subset} test items, {report['num_draws']} draws",
        str(Measure(**report["measure"])),
    ):
        console.print(line, highlight=False, markup=False)
    table = Table("estimate", *(Column(name, justify="right") for name in ("value", "+- s.e.")))
    for name, estimate in report["estimates"].items():
        digits = {"nats": 2, UNITS["reconstruction_error"]: 5}.get(estimate["unit"], 3)
        value, error = (
            "" if number is None else f"{number:.{digits}f}"
            for number in (estimate["value"], estimate["standard_error"])
        )
        table.add_row(f"{name}, {estimate['unit']}", value, error)
    if draws:
        _add_draws(table, draws)
    console.print(table)
    for note in report["notes"] + (draws.doubts() if draws else []):
        say(console, f"Note: {note}")
    say(console, f"Written: {out / 'evaluation.json'}")


def _add_draws(table: Table, draws: DrawCheck) -> None:
    """Rows that say how far the NLL may be trusted."""
    at_least = ">= " * bool(draws.items_in_doubt)  # what few draws say of their own error
    table.add_section()
    for name, told in {
        f"effective draws an item, of {draws.num_draws}": f"{draws.effective_mean:.1f}",
        "effective draws, the least": f"{draws.effective_least:.1f}",
        f"rise of log p(x) from {draws.share} draws, nats": f"{draws.rise_mean:.2f}",
        "rise of log p(x), the largest, nats": f"{draws.rise_largest:.2f}",
        "Monte Carlo error of nll, nats": f"{at_least}{draws.monte_carlo_error:.3f}",
    }.items():
        table.add_row(name, told)

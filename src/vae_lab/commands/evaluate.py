"""The evaluate command: score a run on its test split."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from vae_lab.config import build
from vae_lab.config.allowed import check_parts
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError, number, whole_number
from vae_lab.evaluation.figures import plot_all, save_figures
from vae_lab.evaluation.measure import Measure
from vae_lab.evaluation.score import NOT_A_LIKELIHOOD, _some, score
from vae_lab.storage.checkpoint import checkpoint_path, run_folder
from vae_lab.storage.provenance import commit, device_name, versions
from vae_lab.support import Support
from vae_lab.trained import TrainedVAE, load


def evaluate_task(settings: DictConfig) -> None:
    """The evaluate command: score `run`, write evaluation.json and figures, print a table.

    Raises InputError, before any work, for settings or a run that cannot be scored.
    """
    if OmegaConf.is_missing(settings, "run"):
        raise InputError("which run? Say run=<run folder or checkpoint>.")
    cfg = settings.evaluate
    _check(cfg)
    path = checkpoint_path(settings.run)
    device = torch.device(_best_device() if cfg.device == "auto" else cfg.device)
    trained = load(path, device)
    data = _data(trained, cfg)
    out = Path(cfg.out) if cfg.out else run_folder(path)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out} cannot be made ({error.strerror}): set evaluate.out to another."
        ) from error
    started = time.monotonic()
    estimates = score(trained, data, cfg)
    report = {
        "estimates": {name: asdict(estimate) for name, estimate in estimates.items()},
        **_origin(trained, data, cfg, device),
        "seconds": round(time.monotonic() - started, 1),
    }
    partial = out / "evaluation.json.part"
    partial.write_text(json.dumps(report, indent=2) + "\n")
    partial.replace(out / "evaluation.json")
    shown = _some(trained, data, "test", 1000, cfg.seed)
    save_figures(plot_all(trained.model, shown, "test"), out / "figures")
    _print(report, out)


def _check(cfg: DictConfig) -> None:
    for name in ("num_draws", "batch_size", "samples_per_class"):
        whole_number(f"evaluate.{name}", cfg[name], 1)
    whole_number("evaluate.limit", 1 if cfg.limit is None else cfg.limit, 1)
    whole_number("evaluate.seed", cfg.seed, 0)
    number("evaluate.memory_mib", cfg.memory_mib, 0)
    devices = ["auto", "cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if cfg.device not in devices:
        raise InputError(
            f"evaluate.device must be one of {', '.join(devices)} here, not {cfg.device}."
        )


def _data(trained: TrainedVAE, cfg: DictConfig) -> ImageDataModule:
    """The data the model was trained with, checked to be the same."""
    config = OmegaConf.create(trained.record["config"])
    assert isinstance(config, DictConfig)
    for key, place in (("root", cfg.data_root), ("path", cfg.data_path)):
        if place is not None and key in config.data:
            config.data[key] = place
    check_parts(config.data, "data", packages=("vae_lab",))
    data = build.data(config)
    found, expected = Measure.of(data, trained.model), trained.record["measure"]
    if asdict(found) != expected:
        raise InputError(
            f"the data are not those of the training: their hashes are {found.split} and "
            f"{found.evaluated}, not {expected['split']} and {expected['evaluated']}. "
            "Set evaluate.data_root or data_path to the original."
        )
    if not len(data.splits["test"]):
        raise InputError("the run kept no test split: train with data.test_size above 0.")
    return data


def _origin(
    trained: TrainedVAE, data: ImageDataModule, cfg: DictConfig, device: torch.device
) -> dict[str, Any]:
    """All that a figure must carry to mean something."""
    record, support = trained.record, trained.model.likelihood.support
    items = min(len(data.splits["test"]), cfg.limit or len(data.splits["test"]))
    return {
        "measure": record["measure"],
        "comparable": support is not Support.GREY,
        "num_draws": 1 if support is Support.GREY else cfg.num_draws,
        "draw_seed": cfg.seed,
        "items": items,
        "of_test_items": len(data.splits["test"]),
        "preparation_seed": data.eval_seed if trained.preparation.is_random else None,
        "model": record["config"]["name"],
        "parameters": record["parameters"],
        "epochs": record["epoch"] + 1,
        "training_seconds": round(record["seconds"], 1),
        "training_commit": record["commit"],
        "commit": commit(),
        "ema": bool(record["config"].get("ema")),
        "device": device_name(device),
        "versions": versions(),
    }


def _print(report: dict[str, Any], out: Path) -> None:
    console = Console()
    subset = "" if report["items"] == report["of_test_items"] else f" of {report['of_test_items']}"
    console.print(
        f"{report['model']}: {report['items']}{subset} test items, {report['num_draws']} draws. "
        f"{Measure(**report['measure'])}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table()
    for column, justify in (("estimate", "left"), ("value", "right"), ("+- s.e.", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, estimate in report["estimates"].items():
        digits = 2 if estimate["unit"] == "nats" else 3
        table.add_row(
            f"{name}, {estimate['unit']}",
            f"{estimate['value']:.{digits}f}",
            ""
            if estimate["standard_error"] is None
            else f"{estimate['standard_error']:.{digits}f}",
        )
    console.print(table)
    if not report["comparable"]:
        console.print(f"Note: {NOT_A_LIKELIHOOD}.")
    console.print(f"Written: {out / 'evaluation.json'}", highlight=False, soft_wrap=True)


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"

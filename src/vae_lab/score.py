"""Scoring a trained model on its test split: every figure with its error and its origin."""

import json
import math
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vae_lab import build, checkpoint
from vae_lab.callbacks.figures import save_figures
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError, number, whole
from vae_lab.evaluation.evidence import Evidence, evidence
from vae_lab.evaluation.figures import draw_all
from vae_lab.evaluation.labels import sample_accuracy, with_shuffled_labels
from vae_lab.evaluation.metrics import bits_per_dim
from vae_lab.evaluation.statistics import Figure, active_units, mean_figure
from vae_lab.families import Support
from vae_lab.record import commit, device_name, versions
from vae_lab.seeding import seeded_generator
from vae_lab.trace import Batch
from vae_lab.trained import TrainedVAE, load

NOT_A_LIKELIHOOD = (
    "cross-entropy on grey pixels: not a log-likelihood, compares with nothing but itself"
)


def evaluate_task(settings: DictConfig) -> None:
    """The evaluate command: score `run`, write evaluation.json and figures, print a table.

    Raises InputError, before any work, for settings or a run that cannot be scored.
    """
    if OmegaConf.is_missing(settings, "run"):
        raise InputError("which run? Say run=<run folder or checkpoint>.")
    cfg = settings.evaluate
    _check(cfg)
    path = checkpoint.checkpoint_path(settings.run)
    device = torch.device(_best_device() if cfg.device == "auto" else cfg.device)
    trained = load(path, device)
    data = _data(trained, cfg)
    out = Path(cfg.out) if cfg.out else checkpoint.run_folder(path)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out} cannot be made ({error.strerror}): set evaluate.out to another."
        ) from error
    started = time.monotonic()
    figures = score(trained, data, cfg)
    report = {
        "figures": {name: asdict(figure) for name, figure in figures.items()},
        **_origin(trained, data, cfg, device),
        "seconds": round(time.monotonic() - started, 1),
    }
    partial = out / "evaluation.json.part"
    partial.write_text(json.dumps(report, indent=2) + "\n")
    partial.replace(out / "evaluation.json")
    shown = _some(trained, data, "test", 1000, cfg.seed)
    save_figures(draw_all(trained.model, shown, "test"), out / "figures")
    _print(report, out)


def score(trained: TrainedVAE, data: ImageDataModule, cfg: DictConfig) -> dict[str, Figure]:
    """Every figure of the test split (its first `cfg.limit` items), by name."""
    model, support = trained.model, trained.model.likelihood.support
    device = next(model.parameters()).device
    count = min(len(data.splits["test"]), cfg.limit or len(data.splits["test"]))

    def batches() -> Iterable[Batch]:
        return data.batches("test", cfg.batch_size, device, torch.arange(count))

    total = math.ceil(count / cfg.batch_size)
    k = 1 if support is Support.GREY else cfg.k
    scored = evidence(model, batches(), k, cfg.memory_mib, cfg.seed)
    bar = track(
        scored, f"{count} items, {k} draws", total, disable=not cfg.progress,
        console=Console(stderr=True),
    )  # fmt: skip
    every = _joined(bar)
    negative_bound, nll = -every.elbo, -every.log_px
    figures = {"negative_elbo": mean_figure(negative_bound, "nats")}
    if support is not Support.GREY:
        figures["nll"] = mean_figure(nll, "nats")
    figures["rate"] = mean_figure(every.rate, "nats")
    figures["distortion"] = mean_figure(every.distortion, "nats")
    dims = math.prod(model.x_shape)
    for name, nats in (("bits_per_dim_elbo", negative_bound), ("bits_per_dim_nll", nll)):
        bits = bits_per_dim(float(nats.mean()), dims, support, trained.preparation.dequantize)
        if bits is not None:
            error = mean_figure(nats, "").standard_error
            figures[name] = Figure(bits, error and error / (dims * math.log(2)), "bits")
    figures["active_units"] = active_units(every.posterior_mean, cfg.seed)
    labels = data.splits["test"].labels
    if model.reads_labels and labels is not None:
        others = with_shuffled_labels(batches(), labels[:count], cfg.seed)
        shuffled = _joined(evidence(model, others, 1, cfg.memory_mib, cfg.seed))
        figures["elbo_lost_by_shuffled_labels"] = mean_figure(every.elbo - shuffled.elbo, "nats")
        figures |= _label_accuracy(trained, data, cfg)
    return figures


def _label_accuracy(
    trained: TrainedVAE, data: ImageDataModule, cfg: DictConfig
) -> dict[str, Figure]:
    train, test = (_some(trained, data, split, 5000, cfg.seed) for split in ("train", "test"))
    if train.y is None or len(train.y.unique()) < 2:
        return {}  # nothing to classify
    found = sample_accuracy(trained.model, train, test, cfg.samples_per_class, cfg.seed)
    counts = (cfg.samples_per_class * (trained.model.num_classes or 0), len(test.x))
    return {
        f"classifier_accuracy_{name}": Figure(
            value, math.sqrt(value * (1 - value) / count), "share"
        )
        for (name, value), count in zip(found.items(), counts, strict=True)
    }


def _some(trained: TrainedVAE, data: ImageDataModule, split: str, most: int, seed: int) -> Batch:
    """At most so many items of a split, chosen at random: files are often sorted by class."""
    order = torch.randperm(len(data.splits[split]), generator=seeded_generator(seed, "some"))
    device = next(trained.model.parameters()).device
    return next(data.batches(split, most, device, order[:most]))


def _joined(parts: Iterable[Evidence]) -> Evidence:
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Evidence(*(torch.cat(column) for column in columns))


def _check(cfg: DictConfig) -> None:
    for name in ("k", "batch_size", "samples_per_class"):
        whole(f"evaluate.{name}", cfg[name], 1)
    whole("evaluate.limit", 1 if cfg.limit is None else cfg.limit, 1)
    whole("evaluate.seed", cfg.seed, 0)
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
    build.check_parts(config.data, "data", packages=("vae_lab",))
    data = build.data(config)
    data.setup()
    found = (data.split_hash, data.eval_hash)
    expected = (trained.record["data"]["split_hash"], trained.record["data"]["eval_hash"])
    if found != expected:
        raise InputError(
            f"the data are not those of the training: their hashes are {found}, not {expected}. "
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
        "measure": NOT_A_LIKELIHOOD if support is Support.GREY else support.value,
        "comparable": support is not Support.GREY,
        "evidence_of": "log p(x|y)" if trained.model.reads_labels else "log p(x)",
        "k": 1 if support is Support.GREY else cfg.k,
        "draw_seed": cfg.seed,
        "dataset": data.source.name,
        "split_hash": data.split_hash,
        "eval_hash": data.eval_hash,
        "items": items,
        "of_test_items": len(data.splits["test"]),
        "preparation": trained.preparation.describe(),
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
        f"{report['model']}: {report['items']}{subset} test items, {report['evidence_of']}, "
        f"K = {report['k']}, {report['preparation']}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table()
    for column, justify in (("figure", "left"), ("value", "right"), ("+- s.e.", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, figure in report["figures"].items():
        digits = 2 if figure["unit"] == "nats" else 3
        table.add_row(
            f"{name}, {figure['unit']}",
            f"{figure['value']:.{digits}f}",
            "" if figure["standard_error"] is None else f"{figure['standard_error']:.{digits}f}",
        )
    console.print(table)
    if not report["comparable"]:
        console.print(f"Note: {NOT_A_LIKELIHOOD}.")
    console.print(f"Written: {out / 'evaluation.json'}", highlight=False, soft_wrap=True)


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"

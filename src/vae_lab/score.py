"""Scoring a trained model on its test split: every figure with its error and its origin."""

import json
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from vae_lab import build
from vae_lab.callbacks.figures import save_figures
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError
from vae_lab.evaluation.evidence import Evidence, evidence
from vae_lab.evaluation.figures import draw_all
from vae_lab.evaluation.labels import sample_accuracy, with_shuffled_labels
from vae_lab.evaluation.metrics import ACTIVE_THRESHOLD, bits_per_dim
from vae_lab.families import Support
from vae_lab.record import commit, device_name, versions
from vae_lab.seeding import seeded_generator
from vae_lab.trace import Batch
from vae_lab.trained import TrainedVAE, load

NOT_A_LIKELIHOOD = (
    "cross-entropy on grey pixels: not a log-likelihood, compares with nothing but itself"
)


@dataclass(frozen=True)
class Figure:
    """A mean over the test set."""

    value: float
    standard_error: float
    unit: str


def evaluate_task(cfg: DictConfig) -> None:
    """The evaluate command: score `cfg.run`, write evaluation.json and figures, print a table.

    Raises InputError, before any work, for settings or a run that cannot be scored.
    """
    _check(cfg)
    checkpoint = build.checkpoint_path(cfg.run)
    device = torch.device(_best_device() if cfg.device == "auto" else cfg.device)
    trained = load(checkpoint, device)
    data = _data(trained, cfg.data_root)
    out = Path(cfg.out) if cfg.out else _run_folder(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
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
    shown = next(data.batches("test", 1000, device, limit=1000))
    save_figures(draw_all(trained.model, shown, "test"), out / "figures")
    _print(report, out)


def score(trained: TrainedVAE, data: ImageDataModule, cfg: DictConfig) -> dict[str, Figure]:
    """Every figure of the test split (its first `cfg.limit` items), by name."""
    model, support = trained.model, trained.model.likelihood.support
    device = next(model.parameters()).device
    count = min(len(data.splits["test"]), cfg.limit or len(data.splits["test"]))

    def batches() -> Iterable[Batch]:
        return data.batches("test", cfg.batch_size, device, count)

    total = math.ceil(count / cfg.batch_size)
    k = 1 if support is Support.GREY else cfg.k
    scored = evidence(model, batches(), k, cfg.memory_mib, cfg.seed)
    bar = track(
        scored, f"{count} items, {k} draws", total, disable=not cfg.progress,
        console=Console(stderr=True),
    )  # fmt: skip
    every = _joined(bar)
    negative_bound, nll = -every.elbo, -every.log_px
    figures = {"negative_elbo": _mean(negative_bound, "nats")}
    if support is not Support.GREY:
        figures["nll"] = _mean(nll, "nats")
    figures["rate"] = _mean(every.rate, "nats")
    figures["distortion"] = _mean(every.distortion, "nats")
    dims = math.prod(model.x_shape)
    for name, nats in (("bits_per_dim_elbo", negative_bound), ("bits_per_dim_nll", nll)):
        bits = bits_per_dim(float(nats.mean()), dims, support, trained.preparation.dequantize)
        if bits is not None:
            error = _mean(nats, "").standard_error / (dims * math.log(2))
            figures[name] = Figure(bits, error, "bits")
    figures["active_units"] = _active_units(every.posterior_mean, cfg.seed)
    if model.reads_labels:
        shuffled = _joined(
            evidence(model, with_shuffled_labels(batches(), cfg.seed), 1, cfg.memory_mib, cfg.seed)
        )
        figures["elbo_lost_by_shuffled_labels"] = _mean(every.elbo - shuffled.elbo, "nats")
        figures |= _label_accuracy(trained, data, cfg)
    return figures


def _label_accuracy(
    trained: TrainedVAE, data: ImageDataModule, cfg: DictConfig
) -> dict[str, Figure]:
    device = next(trained.model.parameters()).device
    train = next(data.batches("train", 5000, device, limit=5000))
    test = next(data.batches("test", 2000, device, limit=2000))
    found = sample_accuracy(trained.model, train, test, cfg.samples_per_class, cfg.seed)
    counts = (cfg.samples_per_class * (trained.model.num_classes or 0), len(test.x))
    return {
        f"classifier_accuracy_{name}": Figure(
            value, math.sqrt(value * (1 - value) / count), "share"
        )
        for (name, value), count in zip(found.items(), counts, strict=True)
    }


def _joined(parts: Iterable[Evidence]) -> Evidence:
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Evidence(*(torch.cat(column) for column in columns))


def _mean(values: Tensor, unit: str) -> Figure:
    error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Figure(float(values.mean()), error, unit)


def _active_units(means: Tensor, seed: int, resamples: int = 200) -> Figure:
    """Units with Var_x(E[z|x]) > 0.01; the standard error is a bootstrap's over the test set."""
    n = len(means)
    generator = seeded_generator(seed, "bootstrap")
    drawn = torch.randint(n, (resamples, n), generator=generator)
    weights = torch.zeros(resamples, n, dtype=means.dtype)
    weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=means.dtype)).div_(n)
    variance = weights @ means.square() - (weights @ means).square()
    counts = (variance > ACTIVE_THRESHOLD).sum(1).double()
    value = (means.var(0, correction=0) > ACTIVE_THRESHOLD).sum()
    return Figure(float(value), float(counts.std()), f"of {means.shape[1]}")


def _check(cfg: DictConfig) -> None:
    if OmegaConf.is_missing(cfg, "run"):
        raise InputError("which run? Say run=<run folder or checkpoint>.")
    for name in ("k", "batch_size", "samples_per_class"):
        if not isinstance(cfg[name], int) or cfg[name] < 1:
            raise InputError(f"{name} must be a whole number of 1 or more, not {cfg[name]}.")
    if cfg.limit is not None and cfg.limit < 1:
        raise InputError(
            f"limit must be 1 or more, or null for the whole test set, not {cfg.limit}."
        )
    if cfg.device not in ("auto", "cpu") and not str(cfg.device).startswith("cuda"):
        raise InputError(f"device must be auto, cpu or cuda, not {cfg.device}.")


def _data(trained: TrainedVAE, root: str | None) -> ImageDataModule:
    """The data the model was trained with, checked to be the same."""
    config = OmegaConf.create(trained.record["config"])
    assert isinstance(config, DictConfig)
    if root is not None and "root" in config.data:
        config.data.root = root
    build.check_parts(config.data, "data", packages=("vae_lab",))
    data = build.data(config)
    data.setup()
    expected = trained.record["data"]["split_hash"]
    if data.split_hash != expected:
        raise InputError(
            f"the data are not those the model was trained with: their split's hash is "
            f"{data.split_hash}, not {expected}. Set data_root to the original."
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
        "ema": False,
        "device": device_name(device),
        "versions": versions(),
    }


def _print(report: dict[str, Any], out: Path) -> None:
    console = Console()
    subset = "" if report["items"] == report["of_test_items"] else f" of {report['of_test_items']}"
    table = Table(
        title=f"{report['model']}: {report['items']}{subset} test items, "
        f"{report['evidence_of']}, K = {report['k']}, {report['preparation']}",
        title_justify="left",
    )
    for column, justify in (("figure", "left"), ("value", "right"), ("+- s.e.", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, figure in report["figures"].items():
        digits = 2 if figure["unit"] == "nats" else 3
        table.add_row(
            f"{name}, {figure['unit']}",
            f"{figure['value']:.{digits}f}",
            f"{figure['standard_error']:.{digits}f}",
        )
    console.print(table)
    if not report["comparable"]:
        console.print(f"Note: {NOT_A_LIKELIHOOD}.")
    console.print(f"Written: {out / 'evaluation.json'}", highlight=False, soft_wrap=True)


def _run_folder(checkpoint: Path) -> Path:
    folder = checkpoint.parent
    return folder.parent if folder.name == "checkpoints" else folder


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"

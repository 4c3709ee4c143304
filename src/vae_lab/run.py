"""One resolved job, from configuration to a finished run: check, build, train, test, report."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from vae_lab import build
from vae_lab.callbacks import BestCheckpoint
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError
from vae_lab.families import Support
from vae_lab.loggers import WandB
from vae_lab.objectives import Objective
from vae_lab.record import commit, num_parameters, versions
from vae_lab.trace import Trace
from vae_lab.training import Training

if TYPE_CHECKING:
    from vae_lab.trained import TrainedVAE


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    folder: Path
    metrics: dict[str, float]  # each logged figure's last value, by name, such as "val/elbo"
    best: float | None  # the monitored figure at best.ckpt; None without validation data

    def load(self) -> "TrainedVAE":
        """The trained model. See `vae_lab.load`."""
        from vae_lab.trained import load

        return load(self.folder)


def run(cfg: DictConfig, folder: Path, choices: Mapping[str, str], console: Console) -> Run:
    """Train one job into `folder`; `choices` are its group choices, for its name.

    Raises InputError for bad input, and then nothing has been written.
    """
    with _nothing_left_in(folder):
        cfg.run_dir = str(folder)
        cfg.name = cfg.name or f"{choices['model']}-{choices['data']}"
        datamodule, module, trace = _prepare(cfg)
        loggers: list[Logger] = [build.part(cfg.logger, "logger")] if cfg.logger else []
        with _without_noise():
            trainer = build.trainer(cfg, len(datamodule.splits["val"]) > 0, loggers)
        _check_warmup(module.objective, trainer, len(datamodule.train_dataloader()))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    with _finished(loggers), _without_noise():
        _announce(console, cfg, datamodule, module, trace, loggers)
        trainer.fit(module, datamodule=datamodule)
        metrics = _floats(trainer.logged_metrics)
        best = _best(trainer)
        if cfg.test and len(datamodule.splits["test"]):
            kept = build.read_checkpoint(build.checkpoint_path(folder))
            module.load_state_dict(kept["state_dict"])
            trainer.test(module, datamodule=datamodule, verbose=False)
            metrics |= _floats(trainer.logged_metrics)
    finished = Run(folder, metrics, best)
    _report(console, finished, module)
    return finished


def _prepare(cfg: DictConfig) -> tuple[ImageDataModule, Training, Trace]:
    """The data, set up; the module, built; and its first pass, which nothing is learned from."""
    missing = OmegaConf.missing_keys(cfg)
    if missing:
        keys = ", ".join(sorted(missing))
        raise InputError(f"not set: {keys}. Say, for example, {sorted(missing)[0]}=...")
    if not isinstance(cfg.seed, int):
        raise InputError(f"seed must be a whole number, not {cfg.seed}.")
    build.check_parts(cfg)
    datamodule = build.data(cfg)
    datamodule.setup()
    cfg.data.x_shape = list(datamodule.x_shape or ())
    cfg.data.num_classes = datamodule.num_classes
    record: dict[str, Any] = {
        "format": build.FORMAT,
        "config": OmegaConf.to_container(cfg, resolve=True),
        "data": {
            "split_hash": datamodule.split_hash,
            "binarize": datamodule.preparation.binarize,
            "dequantize": datamodule.preparation.dequantize,
            "sizes": {name: len(images) for name, images in datamodule.splits.items()},
        },
        "commit": commit(),
        "versions": versions(),
    }
    L.seed_everything(cfg.seed, verbose=False)
    module = build.training(cfg, datamodule, record)
    record["parameters"] = num_parameters(module.model)
    batch = next(datamodule.batches("train", 2, torch.device("cpu"), limit=2))
    trace: Trace = module.model(batch, module.estimator.draw)
    module.estimator.surrogate(module.objective, trace, torch.tensor(0.0))
    return datamodule, module, trace


def _check_warmup(objective: Objective, trainer: Trainer, batches_per_epoch: int) -> None:
    epochs = float("inf")
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        epochs = trainer.max_epochs
    if trainer.max_steps >= 0:
        steps = trainer.max_steps * trainer.accumulate_grad_batches
        epochs = min(epochs, steps / batches_per_epoch)
    if objective.warmup_epochs > epochs:
        raise InputError(
            f"the warm-up takes {objective.warmup_epochs:g} epochs, longer than the training's "
            f"{epochs:g}: shorten it, or raise trainer.max_epochs."
        )


def _announce(
    console: Console,
    cfg: DictConfig,
    datamodule: ImageDataModule,
    module: Training,
    trace: Trace,
    loggers: list[Logger],
) -> None:
    """Say what is about to happen, above all where it is not what one would assume."""
    sizes = "/".join(str(count) for count in module.record["data"]["sizes"].values())
    preparation = datamodule.preparation
    how = preparation.describe()
    said = [
        f"{cfg.name}: {module.record['parameters']:,} parameters, {datamodule.source.name} {sizes} "
        f"(split {datamodule.split_hash}, {how}), seed {cfg.seed}",
        f"Run folder: {module.record['config']['run_dir']}",
    ]
    if module.objective.describe():
        said.append(f"Trains another objective than the ELBO: {module.objective.describe()}.")
    if not all(latent.has_closed_form_kl for latent in trace.latents):
        said.append("The KL has no closed form here: rate and ELBO are Monte Carlo estimates.")
    if module.model.likelihood.support is Support.GREY:
        said.append(
            "Cross-entropy on grey pixels is no likelihood: its figures are not log-likelihoods."
        )
    hyperparameters = {
        **module.record["config"],
        "split_hash": datamodule.split_hash,
        "commit": module.record["commit"],
        "parameters": module.record["parameters"],
    }
    for logger in loggers:
        logger.log_hyperparams(hyperparameters)
        if isinstance(logger, WandB):
            logger.define_summaries(module.monitor)
            said.append(logger.how_to_view())
    for line in said:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _report(console: Console, finished: Run, module: Training) -> None:
    """The short table at the end."""
    table = Table(title=f"{module.record['config']['name']}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    conditional = " (log p(x|y))" if module.model.reads_labels else ""
    if finished.best is not None:
        table.add_row(f"best {module.monitor}, nats{conditional}", f"{finished.best:.2f}")
    else:
        train = finished.metrics["train/elbo"]
        table.add_row(f"train/elbo of the last epoch, nats{conditional}", f"{train:.2f}")
    units = {"bits_per_dim": "", "active_units": f" of {torch.Size(module.model.z_shape).numel()}"}
    for name, value in finished.metrics.items():
        split, _, figure = name.partition("/")
        if split == "test":
            unit = units.get(figure, ", nats")
            table.add_row(f"{name}{unit}", f"{value:.{3 if figure == 'bits_per_dim' else 2}f}")
    console.print(table)
    console.print(f"Run folder: {finished.folder}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"Score it: python evaluate.py run={finished.folder}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _best(trainer: Trainer) -> float | None:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, BestCheckpoint) and callback.best_model_score is not None:
            return float(callback.best_model_score)
    return None


def _floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


@contextmanager
def _nothing_left_in(folder: Path) -> Iterator[None]:
    """Where the block fails, remove `folder`, and the folders made for it, if they are empty."""
    try:
        yield
    except BaseException:
        for made in (folder, *folder.parents[:3]):
            with suppress(OSError):
                made.rmdir()
        raise


@contextmanager
def _finished(loggers: list[Logger]) -> Iterator[None]:
    """Close W&B's run whatever happens, marked failed where it failed."""
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in loggers:
            if isinstance(logger, WandB):
                logger.finish(failed)


@contextmanager
def _without_noise() -> Iterator[None]:
    """Keep Lightning's advertisements and its own deprecations out of the report."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
            yield
    finally:
        logger.setLevel(level)

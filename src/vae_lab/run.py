"""One resolved job, from configuration to a finished run: check, build, train, test, report."""

import json
import logging
import time
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

from vae_lab import build, checkpoint, group
from vae_lab.callbacks import BestCheckpoint
from vae_lab.compiling import compile_pass
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError, one_line, whole
from vae_lab.loggers import WandB
from vae_lab.lr_find import suggest_lr
from vae_lab.objectives import Objective
from vae_lab.record import commit, num_parameters, versions
from vae_lab.report import announce, report
from vae_lab.trace import Trace
from vae_lab.training import Training, whole_weights

if TYPE_CHECKING:
    from vae_lab.trained import TrainedVAE

_STARTED = time.time()


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

    A job of several processes is handed to torchrun, unless this is one of them already. Raises
    InputError for bad input, and then nothing has been written.
    """
    with _refused_cleanly(folder):
        if not group.is_member() and (folder / "checkpoints").exists():
            raise InputError(f"{folder} holds a run already: set hydra.run.dir to another folder.")
        cfg.run_dir = str(folder)
        cfg.name = cfg.name or f"{choices['model']}-{choices['data']}"
        datamodule, module, trace = _prepare(cfg)
        if cfg.compile:
            compile_pass(module.model)
        logs = cfg.logger and not cfg.lr_find and group.rank() == 0
        loggers: list[Logger] = [build.part(cfg.logger, "logger")] if logs else []
        with _without_noise():
            trainer = build.trainer(cfg, len(datamodule.splits["val"]) > 0, loggers)
        _check_length(module.objective, trainer, len(datamodule.train_dataloader()))
    if group.rank() == 0:
        _write(cfg, folder)
    processes = trainer.num_devices * trainer.num_nodes
    if processes > 1 and not group.is_member():
        group.launch(folder, trainer.num_devices)
        return Run(folder, **json.loads((folder / "result.json").read_text()))
    with _finished(loggers), _without_noise():
        announce(console, cfg, datamodule, module, trace, loggers, processes)
        if cfg.lr_find:
            metrics = suggest_lr(trainer, module, datamodule, folder, console)
            if group.rank() == 0:
                result = {"metrics": metrics, "best": None}
                (folder / "result.json").write_text(json.dumps(result) + "\n")
            return Run(folder, metrics, None)
        trainer.fit(module, datamodule=datamodule)
        metrics = _floats(trainer.logged_metrics)
        best = _best(trainer)
        trainer.strategy.barrier("checkpoints are written")
        if cfg.test and len(datamodule.splits["test"]):
            kept = checkpoint.read_checkpoint(checkpoint.checkpoint_path(folder))
            with whole_weights(trainer):
                module.load_state_dict(kept["state_dict"])
            trainer.test(module, datamodule=datamodule, verbose=False)
            metrics |= _floats(trainer.logged_metrics)
    if group.rank() == 0:
        (folder / "result.json").write_text(json.dumps({"metrics": metrics, "best": best}) + "\n")
        report(console, module, folder, best, metrics)
    return Run(folder, metrics, best)


def _write(cfg: DictConfig, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    except OSError as error:
        raise InputError(
            f"the run cannot be written to {folder} ({error.strerror}): set hydra.run.dir to a "
            "folder that can."
        ) from error


def _prepare(cfg: DictConfig) -> tuple[ImageDataModule, Training, Trace]:
    """The data, set up; the module, built; and its first pass, which nothing is learned from."""
    missing = OmegaConf.missing_keys(cfg)
    if missing:
        keys = ", ".join(sorted(missing))
        raise InputError(f"not set: {keys}. Say, for example, {sorted(missing)[0]}=...")
    whole("seed", cfg.seed, 0)
    build.check_parts(cfg)
    datamodule = build.data(cfg)
    datamodule.setup()
    cfg.data.x_shape = list(datamodule.x_shape or ())
    cfg.data.num_classes = datamodule.num_classes
    for key in ("root", "path"):  # so that the data are found again from any folder
        if key in cfg.data:
            cfg.data[key] = str(Path(cfg.data[key]).resolve())
    record: dict[str, Any] = {
        "format": checkpoint.FORMAT,
        "config": OmegaConf.to_container(cfg, resolve=True),
        "data": {
            "split_hash": datamodule.split_hash,
            "eval_hash": datamodule.eval_hash,
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
    batch = next(datamodule.batches("train", 2, torch.device("cpu")))
    trace: Trace = module.model(batch, module.estimator.draw)
    module.estimator.surrogate(module.objective, trace, torch.tensor(0.0))
    return datamodule, module, trace


def _check_length(objective: Objective, trainer: Trainer, batches_per_epoch: int) -> None:
    if trainer.max_epochs == 0 or trainer.max_steps == 0:
        raise InputError("trainer.max_epochs and max_steps must be 1 or more, or -1 for no limit.")
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


def _best(trainer: Trainer) -> float | None:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, BestCheckpoint) and callback.best_model_score is not None:
            return float(callback.best_model_score)
    return None


def _floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


@contextmanager
def _refused_cleanly(folder: Path) -> Iterator[None]:
    """Where the block fails, say why in one line, and take back the folder that Hydra has made."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            if folder.stat().st_mtime >= _STARTED:
                folder.rmdir()  # only ever an empty one
        if isinstance(error, InputError) or not isinstance(error, Exception):
            raise
        raise InputError(
            f"the run cannot start: {one_line(error)} (HYDRA_FULL_ERROR=1 shows where)"
        ) from error


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
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
            yield
    finally:
        logger.setLevel(level)

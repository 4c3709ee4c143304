"""One job, from its configuration to the objects that train it: everything checked, nothing run."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from vae_lab.config import build
from vae_lab.config.allowed import check_parts, trusted
from vae_lab.config.complete import complete
from vae_lab.config.restore import load_weights
from vae_lab.config.settings import TrainSettings, check_settings
from vae_lab.data import ImageDataModule
from vae_lab.distributed import group
from vae_lab.errors import InputError
from vae_lab.evaluation.measure import Measure
from vae_lab.experiment.first_pass import first_pass
from vae_lab.experiment.resume import check_best, check_goes_on
from vae_lab.objectives import Objective
from vae_lab.storage.checkpoint import FORMAT
from vae_lab.storage.provenance import commit, num_parameters, versions
from vae_lab.storage.run_folder import Found, RunFolder
from vae_lab.trace import Trace
from vae_lab.training.compiling import compile_pass
from vae_lab.training.module import VAEModule


@contextmanager
def without_noise() -> Iterator[None]:
    """Keep Lightning's advertisements and its own deprecations out of the report."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for harmless in (
                ".*treespec, LeafSpec.*",
                "The PyTorch Profiler default schedule",
                "The number of training batches",  # of small data
            ):
                warnings.filterwarnings("ignore", message=harmless)
            yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class Job:
    """All that one job trains with."""

    cfg: DictConfig  # complete, and read-only
    folder: RunFolder
    datamodule: ImageDataModule
    module: VAEModule
    trainer: Trainer
    loggers: list[Logger]
    trace: Trace  # of a first pass, which nothing was learned from
    start: tuple[Path, dict[str, Any]] | None  # the checkpoint to go on from, and its content
    notes: list[str]  # what to say of it

    @property
    def processes(self) -> int:
        """How many processes train it together."""
        return self.trainer.num_devices * self.trainer.num_nodes


@without_noise()
def prepare(asked: DictConfig, folder: RunFolder, labels: Mapping[str, Any]) -> Job:
    """Check, complete and build a job.

    Args:
        asked: Its configuration, as composed or as a run folder keeps it.
        folder: Where it will write; nothing is written yet.
        labels: See `vae_lab.config.complete`.

    Raises:
        InputError: For bad input.
    """
    missing = sorted(OmegaConf.missing_keys(asked))
    if missing:
        raise InputError(f"not set: {', '.join(missing)}. Say, for example, {missing[0]}=...")
    check_settings(check_parts(asked, complete=False), [TrainSettings])
    found = folder.newest_checkpoint(partial(check_goes_on, folder.config()))
    datamodule = build.data(asked)
    cfg = complete(asked, folder, datamodule, labels)
    check_parts(cfg)
    L.seed_everything(cfg.seed, verbose=False)
    record = _record(cfg, datamodule)
    module = build.training(cfg, datamodule, record)
    record["measure"] = asdict(Measure.of(datamodule, module.model))
    record["parameters"] = num_parameters(module.model)
    if found is not None:
        _check_same_data(found.content, record)
        _check_longer(found.content, cfg, folder)
        check_best(folder)
    elif cfg.init_from is not None:
        load_weights(module.model, str(cfg.init_from))
    else:
        cpu = torch.device("cpu")
        module.model.initialise(lambda n: datamodule.random_items("train", n, cpu, cfg.seed))
    batch = next(datamodule.batches("train", 2, torch.device("cpu")))
    trace = first_pass(module, batch)
    if cfg.compile:
        compile_pass(module.model)
    logs = cfg.logger and not cfg.lr_find and group.rank() == 0
    loggers: list[Logger] = [build.instance(cfg.logger, "logger")] if logs else []
    trainer = build.trainer(cfg, build.validates(cfg, datamodule), loggers)
    items = len(datamodule.splits["train"]) // (trainer.num_devices * trainer.num_nodes)
    _check_batches(cfg, trainer, module.objective, items)
    _check_length(cfg, trainer, module.objective, -(-items // cfg.data.batch_size))
    return Job(
        cfg,
        folder,
        datamodule,
        module,
        trainer,
        loggers,
        trace,
        found and found[:2],
        _notes(found, folder),
    )


def _notes(found: Found | None, folder: RunFolder) -> list[str]:
    """What was wrong with a newer checkpoint, and what in the folder is of the run as it was."""
    if found is None:
        return []
    made = ("evaluation.json", "prior.ckpt", "export")
    stale = [name for name in made if (folder.path / name).exists()]
    of_before = f"{' and '.join(stale)} in it: of the shorter run, until you make them anew."
    return [line for line in (found.problem, of_before * bool(stale)) if line]


def _check_same_data(checkpoint: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    before, measure = checkpoint["vae_lab"], Measure(**record["measure"])
    if before["data"] != record["data"] or not measure.is_told_by(before["measure"]):
        raise InputError("the data are no longer those this run was trained on: restore them.")


def _check_longer(checkpoint: Mapping[str, Any], cfg: DictConfig, folder: RunFolder) -> None:
    begun, wanted = checkpoint["epoch"] + 1, cfg.trainer.max_epochs
    least = begun + folder.is_finished  # which has begun no epoch that it has not ended
    if wanted not in (None, -1) and wanted < least:
        raise InputError(
            f"this run has begun its epoch {begun} already: set trainer.max_epochs to {least} or "
            "more."
        )


def _record(cfg: DictConfig, datamodule: ImageDataModule) -> dict[str, Any]:
    """What goes into every checkpoint, of plain values, so that one is enough."""
    preparation = datamodule.preparation
    return {
        "format": FORMAT,
        "config": OmegaConf.to_container(cfg, resolve=True),
        "data": {
            "binarize": preparation.binarize,
            "dequantize": preparation.dequantize,
            "sizes": {name: len(images) for name, images in datamodule.splits.items()},
        },
        "commit": commit(*trusted()),
        "versions": versions(),
    }


def _check_batches(cfg: DictConfig, trainer: Trainer, objective: Objective, items: int) -> None:
    """Whether each process has as many training `items` as it needs for a batch."""
    if items == 0:
        raise InputError(
            f"there are fewer training items than the {trainer.num_devices * trainer.num_nodes} "
            "processes: lower trainer.devices, or raise data.limit."
        )
    if objective.reads_batch and min(items, cfg.data.batch_size) == 1:
        key = "data.batch_size" if cfg.data.batch_size == 1 else "data.limit"
        raise InputError(
            f"{type(objective).__name__} reads what the data of a batch have in common, and every "
            f"batch here is of one alone: raise {key}."
        )


def _check_length(
    cfg: DictConfig, trainer: Trainer, objective: Objective, batches_per_epoch: int
) -> None:
    limit, every = trainer.limit_train_batches, trainer.val_check_interval
    taken = min(limit, batches_per_epoch) if isinstance(limit, int) else batches_per_epoch
    for key, batches, most in (
        ("accumulate_grad_batches", trainer.accumulate_grad_batches, batches_per_epoch),
        ("val_check_interval", every if trainer.check_val_every_n_epoch else 1, taken),
    ):
        if isinstance(batches, int) and batches > most:
            raise InputError(
                f"trainer.{key}={batches} is more than the {most} batches of an epoch: lower it."
            )
    max_epochs, max_steps = trainer.max_epochs, cfg.trainer.get("max_steps", -1)
    epochs = float("inf") if max_epochs in (None, -1) else max_epochs
    if max_steps != -1:
        steps = max_steps * trainer.accumulate_grad_batches
        epochs = min(epochs, steps / batches_per_epoch)
    if objective.warmup_epochs > epochs:
        keys = ("beta.epochs", "epochs", "start_epoch", "ramp_epochs")
        said = [f"objective.{key}" for key in keys if OmegaConf.select(cfg.objective, key)]
        raise InputError(
            f"the warm-up takes {objective.warmup_epochs:g} epochs, longer than the training's "
            f"{epochs:g}: lower {' or '.join(said) or 'it'}, or raise trainer.max_epochs."
        )

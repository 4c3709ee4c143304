"""One run: claim the folder, prepare, fit, test, finish."""

import os
import signal
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import FSDPStrategy
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from vae_lab.callbacks import BestCheckpoint
from vae_lab.config import build
from vae_lab.config.complete import digest
from vae_lab.cpu import at_full_speed
from vae_lab.distributed import group
from vae_lab.distributed.signals import Interrupted, Interruption, requeue
from vae_lab.errors import InputError, explained
from vae_lab.experiment.failures import cannot_go_on, cannot_start
from vae_lab.experiment.prepare import Job, prepare, without_noise
from vae_lab.experiment.report import announcement, report
from vae_lab.experiment.resume import check_folder
from vae_lab.loggers.session import session
from vae_lab.storage.checkpoint import checkpoint_path, read_checkpoint
from vae_lab.storage.run_folder import RunFolder
from vae_lab.terminal import say
from vae_lab.trained import TrainedVAE, load
from vae_lab.training.lr_find import suggest_lr
from vae_lab.training.overhead import ask_cuda_itself, unfilled_memory


@dataclass(frozen=True)
class Run(os.PathLike[str]):
    """A finished training run. It is a path as well, that of its folder."""

    folder: Path
    metrics: dict[str, float]  # each logged metric's last value, by name, such as "val/elbo"
    best: float | None  # the monitored metric at best.ckpt; None without validation data

    def __fspath__(self) -> str:
        return str(self.folder)

    def load(self) -> TrainedVAE:
        """The trained model. See `vae_lab.load`."""
        return load(self)


def run(asked: DictConfig, folder: RunFolder, labels: Mapping[str, Any], console: Console) -> Run:
    """Train one job into `folder`, in this process or, if it asks for several, in a group of them.

    A folder that holds the same job, unfinished, is gone on from.

    Args:
        asked: The job's configuration, as composed or as a run folder keeps it.
        folder: Where everything is written.
        labels: See `vae_lab.config.complete`.
        console: Where the run says what it does.

    Raises:
        InputError: For bad input, and then nothing has been written; and for a run that fails.
        Interrupted: Where it is told to stop, with how to go on; what that needs is saved.
    """
    try:
        with Interruption.heeded():
            return _run(asked, folder, labels, console)
    except Interrupted as told:
        raise Interrupted(told.number, _stopped(told.number, folder)) from None


def _run(asked: DictConfig, folder: RunFolder, labels: Mapping[str, Any], console: Console) -> Run:
    leads = group.rank() == 0
    with folder.claim() if leads else nullcontext():
        with explained(cannot_start):
            if leads:
                check_folder(asked, folder)
            job = prepare(asked, folder, labels)
            if job.processes > 1 and not group.is_member():
                group.check_room(job.trainer.num_devices)
        if leads:
            folder.begin(OmegaConf.to_yaml(job.cfg, resolve=True))
        if job.processes == 1 or group.is_member():
            return train(job, console)
        group.launch(folder.path, job.trainer.num_devices, console.quiet)
    return _finished(folder)


def _stopped(number: int | None, folder: RunFolder) -> str:
    """What to say of a run that was told to stop."""
    if not (folder.path / "config.yaml").exists():
        return "Told to stop before training began; nothing was written."
    if folder.is_finished:
        return f"Told to stop; the run had finished: {folder}"
    how = f"python train.py resume={folder}"
    if number == signal.SIGUSR1 and group.rank() == 0 and requeue():  # once, not by every rank
        how = "SLURM starts it again"
    saved = (folder.path / "checkpoints" / "last.ckpt").exists()
    return f"Told to stop{'; saved' if saved else ' before the first save'}. To go on: {how}"


@without_noise()
def train(job: Job, console: Console) -> Run:
    """Train in this process, alone or as a member of a group; then test, once.

    Where only a learning rate is looked for, nothing is trained. See `run` for the rest.
    """
    record, module = job.module.record, job.module
    origin = {key: record[key] for key in ("measure", "parameters", "commit")}
    logged = session(job.loggers, {**record["config"], **origin}, module.monitor)
    explains = explained(partial(cannot_go_on, job))
    with logged, at_full_speed(), unfilled_memory(), explains:
        for line in announcement(job):
            say(console, line)
        if job.cfg.lr_find:
            place = job.folder.path
            metrics = suggest_lr(job.trainer, module, job.datamodule, place, console)
        else:
            metrics = _fit_and_test(job)
        best, best_epoch = _best(job.trainer)
        if group.rank() == 0:
            selected = {"monitor": module.monitor, "best": best, "best_epoch": best_epoch}
            told = {"objective": module.trained, "measure": record["measure"]}
            job.folder.finish({"metrics": metrics, **selected, **told})
            if not job.cfg.lr_find:
                report(console, job, best, best_epoch, metrics)
    group.leave()
    return Run(job.folder.path, metrics, best)


def ended(asked: DictConfig, folder: RunFolder) -> Run | None:
    """The finished run in `folder`, if it is of this very job, as it is asked for."""
    stored = folder.config()
    if stored is None or not folder.is_finished or stored["config_digest"] != digest(asked):
        return None
    return _finished(folder)


def _finished(folder: RunFolder) -> Run:
    result = folder.result()
    assert result is not None
    return Run(folder.path, result["metrics"], result["best"])


def _fit_and_test(job: Job) -> dict[str, float]:
    """Every metric's last value."""
    ask_cuda_itself()
    trainer, module, datamodule = job.trainer, job.module, job.datamodule
    start, metrics = None, {}
    if job.start is not None:
        start, content = job.start
        metrics = content["vae_lab"]["metrics"]
    trainer.fit(module, datamodule=datamodule, ckpt_path=start, weights_only=True)
    metrics |= _floats(trainer.logged_metrics)
    trainer.strategy.barrier("checkpoints are written")
    if trainer.global_step == 0:
        raise InputError("training took no step: raise trainer.max_time, and resume the run.")
    if job.cfg.test and len(datamodule.splits["test"]):
        if isinstance(trainer.strategy, FSDPStrategy):
            module = build.training(job.cfg, datamodule, module.record)  # its weights lie whole
        kept = read_checkpoint(checkpoint_path(job.folder))
        module.load_state_dict(kept["state_dict"])
        trainer.test(module, datamodule=datamodule, verbose=False)
        metrics |= _floats(trainer.logged_metrics)
    return metrics


def _floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _best(trainer: Trainer) -> tuple[float, int] | tuple[None, None]:
    """The monitored metric at best.ckpt, and its epoch, counted from 1."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, BestCheckpoint) and callback.epoch is not None:
            return callback.score, callback.epoch
    return None, None

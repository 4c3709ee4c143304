"""One resolved job, from configuration to a finished run: check, claim a folder, train, test."""

import json
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import FSDPStrategy
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from vae_lab.callbacks import BestCheckpoint
from vae_lab.distributed import group
from vae_lab.distributed.signals import Interrupted, requeue
from vae_lab.errors import InputError
from vae_lab.experiment.prepare import Job, floats, prepare, without_noise
from vae_lab.experiment.report import announce, report
from vae_lab.experiment.resume import length
from vae_lab.loggers import WandB
from vae_lab.storage.checkpoint import checkpoint_path, read_checkpoint
from vae_lab.storage.files import atomic_file
from vae_lab.storage.run_folder import config_digest, held, result, stored_config
from vae_lab.training.lr_find import suggest_lr

if TYPE_CHECKING:
    from vae_lab.trained import TrainedVAE
from vae_lab.experiment.failures import _refused_cleanly, _told


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

    A folder that holds the same job, unfinished, is gone on from. A job of several processes is
    handed to torchrun, unless this is one of them already. Raises InputError for bad input, and
    then nothing has been written.
    """
    with _refused_cleanly(folder):
        cfg.config_digest = cfg.config_digest or config_digest(cfg)
        if group.rank() == 0:
            _check_folder(cfg, folder)
        cfg.run_dir = str(folder)
        cfg.run_id = cfg.run_id or secrets.token_hex(4)
        cfg.name = cfg.name or f"{choices['model']}-{choices['data']}"
        job = prepare(cfg, folder)
    with _claimed(job):
        try:
            if job.processes == 1 or group.is_member():
                return train(job, console)
            group.launch(folder, job.trainer.num_devices)
            return _run_in(folder)
        except Interrupted as interrupted:
            how = f"python train.py resume={folder}"
            if interrupted.number == signal.SIGUSR1 and requeue():
                how = "SLURM starts it again"
            console.print(f"Told to stop; saved. To go on: {how}", highlight=False, soft_wrap=True)
            raise


def ended(cfg: DictConfig, folder: Path) -> Run | None:
    """The finished run in `folder`, if it is of this very job, not yet filled in."""
    stored = stored_config(folder)
    if stored is None or result(folder) is None or stored.config_digest != config_digest(cfg):
        return None
    return _run_in(folder)


def _run_in(folder: Path) -> Run:
    found = result(folder)
    assert found is not None
    return Run(folder, found["metrics"], found["best"])


def train(job: Job, console: Console) -> Run:
    """Train in this process, alone or as a member of a group; then test, once.

    Where only a learning rate is looked for, nothing is trained.
    """
    with _finished(job.loggers), _told(job), without_noise():
        announce(console, job)
        if job.cfg.lr_find:
            found = suggest_lr(job.trainer, job.module, job.datamodule, job.folder, console)
            trained = Run(job.folder, found, None)
        else:
            trained = _fit_and_test(job)
        if group.rank() == 0:
            _keep(trained, job)
            if not job.cfg.lr_find:
                report(console, job.module, job.folder, trained.best, trained.metrics)
    group.leave()
    return trained


def _fit_and_test(job: Job) -> Run:
    folder, trainer, module, datamodule = job.folder, job.trainer, job.module, job.datamodule
    start, metrics = None, {}
    if job.start is not None:
        start, content = job.start
        metrics = content["vae_lab"]["metrics"]
    trainer.fit(module, datamodule=datamodule, ckpt_path=start, weights_only=True)
    metrics |= floats(trainer.logged_metrics)
    best = _best(trainer)
    trainer.strategy.barrier("checkpoints are written")
    if job.cfg.test and len(datamodule.splits["test"]):
        if isinstance(trainer.strategy, FSDPStrategy):
            module = job.another_module()  # this one's weights lie in shares
        kept = read_checkpoint(checkpoint_path(folder))
        module.load_state_dict(kept["state_dict"])
        trainer.test(module, datamodule=datamodule, verbose=False)
        metrics |= floats(trainer.logged_metrics)
    return Run(folder, metrics, best)


def _keep(run: Run, job: Job) -> None:
    found = {"metrics": run.metrics, "best": run.best, "measure": _measure(job)}
    with atomic_file(run.folder / "result.json") as part:
        part.write_text(json.dumps(found) + "\n")


def _check_folder(cfg: DictConfig, folder: Path) -> None:
    stored = stored_config(folder)
    if stored is None:
        return
    if stored.config_digest != cfg.config_digest:
        raise InputError(f"{folder} holds another run already: set hydra.run.dir to a new folder.")
    if result(folder) is not None and length(stored) == length(cfg):
        raise InputError(
            f"{folder} holds this run already, finished: set hydra.run.dir to another."
        )
    cfg.run_id = stored.run_id


@contextmanager
def _claimed(job: Job) -> Iterator[None]:
    """Hold the folder while the job lasts, its configuration written; for rank 0 alone."""
    if group.rank() > 0:
        yield
        return
    cfg, folder = job.cfg, job.folder
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(folder))
            with atomic_file(folder / "config.yaml") as part:
                OmegaConf.save(cfg, part, resolve=True)
            for old in ("result.json", "failed.json"):
                (folder / old).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f"the run cannot be written to {folder} ({error.strerror}): set hydra.run.dir to a "
                "folder that can."
            ) from error
        yield


def _measure(job: Job) -> dict[str, str]:
    """What figures must have in common to be compared."""
    data, model = job.datamodule, job.module.model
    return {
        "data": data.source.name,
        "split": data.split_hash,
        "evaluated": data.eval_hash or "streamed",
        "preparation": data.preparation.describe(),
        "likelihood": model.likelihood.support.value,
        "evidence": "log p(x|y)" if model.reads_labels else "log p(x)",
    }


def _best(trainer: Trainer) -> float | None:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, BestCheckpoint) and callback.best_model_score is not None:
            return float(callback.best_model_score)
    return None


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

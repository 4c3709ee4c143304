"""The train command, and the same from Python."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from vae_lab.commands.cli import tell
from vae_lab.config.compose import _as_dict, compose_config
from vae_lab.config.explain import explained
from vae_lab.distributed import group
from vae_lab.errors import InputError
from vae_lab.experiment.resume import resumed
from vae_lab.experiment.run import Run, ended, run
from vae_lab.sweeps.hooks import job_name, note_failure


def train_task(cfg: DictConfig) -> float | None:
    """One Hydra job: train, and return the monitored figure to a sweeper.

    A job of a multirun that fails is told and noted, for the table; the other jobs go on.
    """
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    if job.mode is not RunMode.MULTIRUN:
        return _train_job(cfg, job, folder)
    try:
        with explained(job.overrides.task):
            return _train_job(cfg, job, folder)
    except Exception as error:
        said = tell(error, f" in job {job.job.num}")
        note_failure(folder, _as_dict(job.overrides.task), said)
        return None


def _train_job(cfg: DictConfig, job: HydraConf, folder: Path) -> float | None:
    if cfg.resume is not None:
        with suppress(OSError):
            folder.rmdir()  # Hydra's, empty
        cfg, folder = resumed(cfg.resume, job.overrides.task)
    elif job.mode is RunMode.MULTIRUN:
        sweep = Path(job.sweep.dir).resolve()
        cfg.group = cfg.group or "/".join(sweep.parts[-2:])
        cfg.name = cfg.name or job_name(sweep, _as_dict(job.overrides.task))
        cfg.overrides = _as_dict(job.overrides.task)
        done = ended(cfg, folder)
        if done is not None:
            print(f"job {job.job.num} has finished before: {folder}")
            return done.best
    elif group.is_member() and not any("run.dir=" in o for o in job.overrides.hydra):
        raise InputError("the processes of a group need one folder: set hydra.run.dir.")
    return run(cfg, folder, job.runtime.choices, Console()).best


def train(overrides: Sequence[str] = (), quiet: bool = False) -> Run:
    """Compose and train as `python train.py OVERRIDES` does, and return the run.

    Args:
        overrides: Hydra overrides, such as ["model=conv_vae", "trainer.max_epochs=5"].
        quiet: No progress bar and no report.

    Raises:
        InputError: For bad input, in one line that names the fix, before any training.
    """
    silence = ["callbacks.progress=null"] if quiet else []
    with explained(overrides):
        cfg = compose_config("train", [*overrides, *silence], return_hydra_config=True)
        folder, choices = Path(cfg.hydra.run.dir).resolve(), cfg.hydra.runtime.choices
        job = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        if job.resume is not None:
            job, folder = resumed(job.resume, [o for o in overrides if o not in silence])
        return run(job, folder, choices, Console(quiet=quiet))

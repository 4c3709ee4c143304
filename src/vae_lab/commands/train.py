"""The train command, and the same from Python."""

import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from vae_lab.commands.cli import tell
from vae_lab.config.compose import _as_dict, compose_config
from vae_lab.config.explain import check_choices, explain
from vae_lab.distributed import group
from vae_lab.errors import InputError, explained
from vae_lab.experiment.resume import resumed
from vae_lab.experiment.run import Run, ended, run
from vae_lab.storage.run_folder import RunFolder
from vae_lab.sweeps.hooks import job_name


def train_task(cfg: DictConfig) -> float | None:
    """One Hydra job: train, and return the monitored metric to a sweeper.

    A job of a multirun that fails is told and noted, for the table; the other jobs go on.
    """
    job = HydraConfig.get()
    folder, overrides = RunFolder(job.runtime.output_dir), _as_dict(job.overrides.task)
    labels = _labels(job.runtime.choices)
    if job.mode is not RunMode.MULTIRUN:
        return _train(cfg, folder, labels, job)
    sweep = Path(job.sweep.dir).resolve()
    labels |= {"group": "/".join(sweep.parts[-2:]), "overrides": overrides}
    labels["name"] = job_name(sweep, overrides) or labels["name"]
    try:
        with explained(partial(explain, overrides=job.overrides.task)):
            done = ended(cfg, folder)
            if done is None:
                return _train(cfg, folder, labels, job)
            print(f"job {job.job.num} has finished before: {folder}")
            return done.best
    except Exception as error:
        folder.fail(overrides, tell(error, f" in job {job.job.num}"), traceback.format_exc())
        return None


def _train(
    cfg: DictConfig, folder: RunFolder, labels: Mapping[str, Any], job: HydraConf
) -> float | None:
    check_choices(job.overrides.task)
    if cfg.resume is not None:
        cfg, folder = resumed(cfg.resume, job.overrides.task)
    elif group.is_member() and not any("run.dir=" in o for o in job.overrides.hydra):
        raise InputError("the processes of a group need one folder: set hydra.run.dir.")
    return run(cfg, folder, labels, Console()).best


def train(overrides: Sequence[str] = (), quiet: bool = False) -> Run:
    """Compose and train as `python train.py OVERRIDES` does, and return the run.

    Args:
        overrides: Hydra overrides, such as ["model=conv_vae", "trainer.max_epochs=5"].
        quiet: No progress bar and no report.

    Raises:
        InputError: For bad input, in one line that names the fix, before any training.
    """
    silence = ["callbacks.progress=null"] if quiet else []
    with explained(partial(explain, overrides=overrides)):
        check_choices(overrides)
        cfg = compose_config("train", [*overrides, *silence], return_hydra_config=True)
        folder, labels = RunFolder(cfg.hydra.run.dir), _labels(cfg.hydra.runtime.choices)
        asked = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        if asked.resume is not None:
            asked, folder = resumed(asked.resume, [o for o in overrides if o not in silence])
        return run(asked, folder, labels, Console(quiet=quiet))


def _labels(choices: Mapping[str, str]) -> dict[str, Any]:
    return {"name": f"{choices['model']}-{choices['data']}"}

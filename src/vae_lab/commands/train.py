"""The train command, and the same from Python."""

import signal
import time
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
from rich.text import Text

from vae_lab.commands.cli import tell_error
from vae_lab.config.chosen import check_files
from vae_lab.config.compose import as_dict, compose_config
from vae_lab.config.explain import check_choices, explain
from vae_lab.distributed import group
from vae_lab.distributed.signals import Interrupted
from vae_lab.errors import InputError, explained
from vae_lab.experiment.resume import resumed
from vae_lab.experiment.run import Run, ended, run
from vae_lab.storage.run_folder import RunFolder
from vae_lab.sweeps.names import as_job, in_words, job_name
from vae_lab.terminal import say


def train_task(cfg: DictConfig) -> float | None:
    """One Hydra job: train, and return the monitored metric to a sweeper.

    A job of a multirun that fails is told and noted, for the table; the other jobs go on.
    """
    job = HydraConfig.get()
    folder, labels = RunFolder(job.runtime.output_dir), _labels(job)
    if job.mode is not RunMode.MULTIRUN:
        return _train(cfg, folder, labels, job, Console()).best
    sweep, overrides = Path(job.sweep.dir).resolve(), as_dict(job.overrides.task)
    labels |= {"group": "/".join(sweep.parts[-2:]), "overrides": overrides}
    said, console, began = f"job {job.job.num + 1}", Console(), time.monotonic()
    try:
        with explained(partial(explain, overrides=job.overrides.task)):
            cfg = as_job(cfg)
            name, total = job_name(sweep, overrides)
            labels["name"] = name or labels["name"]
            said += f"{total}  {labels['name']}"
            done = ended(cfg, folder)
            with console.status(Text(said)):
                found = done or _train(cfg, folder, labels, job, Console(quiet=True))
    except Exception as error:
        if folder.is_held:  # the same sweep, run by another process
            raise
        folder.fail(overrides, tell_error(error, f" in {said}"), traceback.format_exc())
        return None
    how = "finished before" if done else f"{time.monotonic() - began:.0f} s"
    say(console, f"{said}: {_outcome(found)}, {how}")
    return found.best


def _outcome(done: Run) -> str:
    """What came of a job, in two words."""
    if done.best is not None:
        return f"best {done.best:.2f}"
    told = ("train/elbo", "lr_find/suggestion")  # without validation data; of a search
    return ", ".join(f"{n} {done.metrics[n]:.5g}" for n in told if n in done.metrics) or "done"


def _train(
    cfg: DictConfig, folder: RunFolder, labels: Mapping[str, Any], job: HydraConf, console: Console
) -> Run:
    check_choices(job.overrides.task)
    check_files(job)
    if cfg.resume is not None:
        cfg, folder = resumed(cfg.resume, [*job.overrides.task, *job.overrides.hydra])
    elif group.is_member() and not any("run.dir=" in o for o in job.overrides.hydra):
        raise InputError("the processes of a group need one folder: set hydra.run.dir.")
    return run(cfg, folder, labels, console)


def train(overrides: Sequence[str] = (), quiet: bool = False) -> Run:
    """Compose and train as `python train.py OVERRIDES` does, and return the run.

    Args:
        overrides: Hydra overrides, such as ["model=conv_vae", "trainer.max_epochs=5"].
        quiet: No progress bar and no report.

    Raises:
        InputError: For bad input, in one line that names the fix, before any training.
        KeyboardInterrupt: After Ctrl-C, with how to go on; what that needs is saved.
        Interrupted: The same after SIGTERM.
    """
    silence = ["callbacks.progress=null"] if quiet else []
    with explained(partial(explain, overrides=overrides)):
        check_choices(overrides)
        cfg = compose_config("train", [*overrides, *silence], return_hydra_config=True)
        check_files(cfg.hydra)
        folder, labels = RunFolder(cfg.hydra.run.dir), _labels(cfg.hydra)
        asked = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        if asked.resume is not None:
            asked, folder = resumed(asked.resume, [o for o in overrides if o not in silence])
        try:
            return run(asked, folder, labels, Console(quiet=quiet))
        except Interrupted as told:
            if told.number != signal.SIGINT:
                raise
            raise KeyboardInterrupt(told.said) from None  # as notebooks know it: the kernel stays


def _labels(hydra: HydraConf) -> dict[str, Any]:
    """A run's name: its model and data, and what else was chosen that changes what is learnt."""
    named = ("experiment", "model/", "objective", "estimator", "optimizer", "scheduler", "ema")
    choices, asked = hydra.runtime.choices, as_dict(hydra.overrides.task)
    chosen = {key: asked[key] for key in sorted(asked) if key in choices and key.startswith(named)}
    return {"name": " ".join([f"{choices['model']}-{choices['data']}", *in_words(chosen)])}

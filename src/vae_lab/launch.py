"""The commands' way in: compose a configuration, run the task, and put bad input in one line."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.text import Text

from vae_lab import group
from vae_lab.errors import InputError, one_line, unknown
from vae_lab.resume import resumed
from vae_lab.run import Run, ended, run
from vae_lab.sweep import job_name, note_failure


def conf_dir() -> Path:
    """The folder of YAML: the installed package's copy, else the repository's."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def main(task: Callable[[DictConfig], object], config_name: str) -> None:
    """Run `task` under Hydra with this primary config; bad input ends in one line and status 1."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on instead of printing them

    def tell(error: Exception, where: str) -> None:
        if wants_traceback:
            traceback.print_exception(error)
        line = Text.assemble((f"error{where}: ", "bold red"), _said(error))
        Console(stderr=True).print(line, soft_wrap=True)

    succeeded: list[bool] = []

    @wraps(task)
    def job(cfg: DictConfig) -> object:
        hydra_job = HydraConfig.get()
        several = hydra_job.mode is RunMode.MULTIRUN
        try:
            with _explained(config_name, hydra_job.overrides.task):
                returned = task(cfg)
            succeeded.append(True)
            return returned
        except Exception as error:
            if not several and not isinstance(error, InputError):
                raise
            tell(error, f" in job {hydra_job.job.num}" if several else "")
            if not several:
                sys.exit(1)
            succeeded.append(False)  # the other jobs go on, and the table tells
            folder = Path(hydra_job.runtime.output_dir)
            note_failure(folder, _as_dict(hydra_job.overrides.task), _said(error))
            return None

    command = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)
    try:
        with _explained(config_name, sys.argv[1:]):
            command(job)()
    except InputError as error:
        tell(error, "")
        sys.exit(1)
    except ValueError as error:  # of Optuna, which looks for a best trial where there is none
        if not succeeded or any(succeeded):
            raise
        tell(InputError("every job of the sweep has failed: see the reasons above."), "")
        raise SystemExit(1) from error


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else one_line(error)


def _as_dict(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return {key: value for key, _, value in pairs}


def train_task(cfg: DictConfig) -> float | None:
    """One Hydra job: train, and return the monitored figure to a sweeper."""
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
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
    with _explained("train", overrides):
        cfg = compose_config("train", [*overrides, *silence], return_hydra_config=True)
        folder, choices = Path(cfg.hydra.run.dir).resolve(), cfg.hydra.runtime.choices
        job = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        if job.resume is not None:
            job, folder = resumed(job.resume, [o for o in overrides if o not in silence])
        return run(job, folder, choices, Console(quiet=quiet))


def compose_config(name: str, overrides: Sequence[str] = (), **options: Any) -> DictConfig:
    """The configuration a command would run with. Takes `hydra.compose`'s options."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(name, list(overrides), **options)


@contextmanager
def _explained(config_name: str, overrides: Sequence[str]) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and the file system say into one line that names the fix."""
    try:
        yield
    except InputError:
        raise
    except MissingConfigException as error:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        raise unknown(f"choice of {group}", choice, error.options or ()) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(str(error), config_name, overrides) from error
    except ValueError as error:
        if not str(error).startswith("Config group override"):
            raise
        raise InputError(f"{error}: a group, such as model, takes one of its choices.") from error
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        sys.exit(1)
    except OSError as error:
        told = f"{error.strerror}: {error.filename}" if error.filename else one_line(error)
        raise InputError(f"{told}. A run is written to hydra.run.dir: set one that can.") from error


def _explain(message: str, config_name: str, overrides: Sequence[str]) -> InputError:
    found = re.search(r"Could not override '([^']+)'", message)
    if not found:
        lines = (line.strip() for line in message.splitlines())
        return InputError(" ".join(line for line in lines if line))
    key = found[1]
    if "/" in key:
        return unknown("group", key.partition("@")[0], _groups())
    node: Any = _without(config_name, overrides, key)
    parent = ""
    for name in key.split("."):
        if not isinstance(node, DictConfig) or name not in node:
            break
        node, parent = node._get_node(name), f"{parent}{name}."
    what = f"key of {parent[:-1]}" if parent else "key"
    return unknown(what, name, map(str, node) if isinstance(node, DictConfig) else ())


def _without(config_name: str, overrides: Sequence[str], key: str) -> DictConfig:
    """The configuration without the override of `key`; without any, where others fail too."""
    others = [o for o in overrides if "=" in o and not o.lstrip("+~").startswith(key)]
    try:
        return compose_config(config_name, others)
    except (HydraException, OmegaConfBaseException):
        return compose_config(config_name)


def _groups() -> list[str]:
    folders = (path for path in conf_dir().rglob("*") if path.is_dir())
    return [folder.relative_to(conf_dir()).as_posix() for folder in folders]

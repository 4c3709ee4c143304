"""The commands' way in: compose, call, one line for bad input."""

import os
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from vae_lab.config.compose import _as_dict, conf_dir
from vae_lab.config.explain import _explained
from vae_lab.errors import InputError, one_line
from vae_lab.sweeps.hooks import note_failure


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

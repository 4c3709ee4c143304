"""The commands' way in: compose, call, one line for bad input."""

import os
import sys
import traceback
from collections.abc import Callable
from functools import wraps

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from vae_lab.config.compose import conf_dir
from vae_lab.config.explain import _explained
from vae_lab.errors import InputError


def main(task: Callable[[DictConfig], object], config_name: str) -> None:
    """Run `task` under Hydra with this primary config; bad input ends in one line and status 1."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on instead of printing them

    def tell(error: InputError) -> None:
        if wants_traceback:
            traceback.print_exception(error)
        line = Text.assemble(("error: ", "bold red"), str(error))
        Console(stderr=True).print(line, soft_wrap=True)

    succeeded: list[bool] = []

    @wraps(task)
    def job(cfg: DictConfig) -> object:
        try:
            with _explained(config_name, HydraConfig.get().overrides.task):
                returned = task(cfg)
        except InputError as error:
            tell(error)
            sys.exit(1)
        succeeded.append(returned is not None)
        return returned

    command = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)
    try:
        with _explained(config_name, sys.argv[1:]):
            command(job)()
    except InputError as error:
        tell(error)
        sys.exit(1)
    except ValueError as error:  # of Optuna, which looks for a best trial where there is none
        if not succeeded or any(succeeded):
            raise
        tell(InputError("every job of the sweep has failed: see the reasons above."))
        raise SystemExit(1) from error

"""The commands' way in: compose, call, one line for bad input."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from vae_lab import arguments
from vae_lab.config.allowed import whitelist
from vae_lab.config.compose import VERSION_BASE, conf_dir, in_multirun
from vae_lab.config.explain import explain
from vae_lab.distributed import group
from vae_lab.distributed.signals import Interrupted, Interruption
from vae_lab.errors import InputError, explained, one_line
from vae_lab.storage.checkpoint import checkpoint_path, run_folder
from vae_lab.storage.run_folder import RunFolder, runs_below
from vae_lab.sweeps.hooks import stopped
from vae_lab.terminal import say, tell

_ASKED = os.environ.get("VAE_LAB_TRACEBACK", os.environ.get("HYDRA_FULL_ERROR", "0"))
_WANTS_TRACEBACK = _ASKED == "1"


def main(task: Callable[[DictConfig], object], config_name: str) -> None:
    """Run `task` under Hydra with this primary config.

    Bad input ends in one line and status 1; a signal to stop in one, and 130 (Ctrl-C) or 143.
    """
    os.environ["VAE_LAB_TRACEBACK"] = _ASKED  # for a launcher's processes, which see the next
    os.environ["HYDRA_FULL_ERROR"] = "1"  # alone makes Hydra raise its errors: else it prints them
    sys.argv[1:] = asked = in_multirun(sys.argv[1:])

    @wraps(task)
    def job(cfg: DictConfig) -> object:
        with _refusing(asked):  # here too: Hydra prints lines of its own about a job that raises
            return task(cfg)

    options = VERSION_BASE | whitelist("execution_whitelist")
    with Interruption.heeded(), _stopping(), _refusing(asked):
        hydra.main(config_path=str(conf_dir()), config_name=config_name, **options)(job)()


@contextmanager
def _stopping() -> Iterator[None]:
    try:
        yield
    except Interrupted as told:
        if group.rank() == 0:
            say(Console(stderr=True), stopped() or told.said)
        raise


@contextmanager
def _refusing(asked: Sequence[str]) -> Iterator[None]:
    try:
        with explained(partial(explain, overrides=asked)):
            yield
    except InputError as error:
        tell_error(error)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        sys.exit(1)


def tell_error(error: Exception, where: str = "") -> str:
    """Print an error on stderr, after its traceback if HYDRA_FULL_ERROR=1 asks; its one line."""
    if _WANTS_TRACEBACK:
        traceback.print_exception(error)
    said = str(error) if isinstance(error, InputError) else one_line(error)
    tell(f"error{where}", said)
    return said


def wanted_checkpoint(cfg: DictConfig) -> Path:
    """The checkpoint that `run=` names. Raises InputError where it names none, or several runs."""
    first, *others = wanted_checkpoints(cfg)
    if others:
        raise InputError(
            f"{cfg.run} holds {len(others) + 1} runs, and one is wanted: say, for example, "
            f"run={run_folder(first)}."
        )
    return first


def wanted_checkpoints(cfg: DictConfig) -> list[Path]:
    """Those that `run=` names: of a run or a checkpoint one, of a folder of runs one for each.

    Runs that have saved nothing are passed over. Raises InputError where there is none.
    """
    wanted = Path(_wanted(cfg))
    if wanted.is_dir() and not RunFolder(wanted).has_checkpoints:
        below = [run for run in runs_below(wanted) if run.has_checkpoints]
        if below:
            return [checkpoint_path(run) for run in below]
    return [checkpoint_path(wanted)]


def _wanted(cfg: DictConfig) -> str:
    if OmegaConf.is_missing(cfg, "run"):
        raise InputError("which run? Say run=<run folder or checkpoint>.")
    return arguments.checked("run", cfg.run, arguments.Text)

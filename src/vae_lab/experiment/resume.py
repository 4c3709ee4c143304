"""How a run goes on: which one, with what, and where none may."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae_lab.arguments import Text, checked
from vae_lab.config.complete import digest
from vae_lab.errors import InputError
from vae_lab.storage.run_folder import RunFolder, runs_below

_MAY_CHANGE = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")
"""What may be said anew where a run goes on: how long."""


def resumed(wanted: str, overrides: Sequence[str]) -> tuple[DictConfig, RunFolder]:
    """The configuration and folder of the run to continue.

    Args:
        wanted: "latest", or a run folder.
        overrides: The command line's; they may lengthen the run.

    Raises:
        InputError: For a run that is not there, has finished, is in use, or would become another.
    """
    wanted = checked("resume", wanted, Text)  # a folder may be called 5
    folder = _latest() if wanted == "latest" else RunFolder(wanted)
    stored = folder.config()
    if stored is None:
        raise InputError(f"no run at {folder}: give resume= a run folder, with config.yaml in it.")
    changes = [o.lstrip("+") for o in overrides if not o.startswith(("resume=", "hydra."))]
    for change in changes:
        if change.partition("=")[0] not in _MAY_CHANGE:
            raise InputError(
                f"a resumed run stays what it was: drop {change}. Only {', '.join(_MAY_CHANGE)} "
                f"may change; init_from={folder} starts a new run from its weights."
            )
    if folder.is_finished and not changes:
        raise InputError(
            f"{folder} has finished: say trainer.max_epochs=... to train it longer, or "
            f"init_from={folder} for a new run from its weights."
        )
    cfg = OmegaConf.merge(stored, OmegaConf.from_dotlist(changes))
    assert isinstance(cfg, DictConfig)
    return cfg, folder


def check_folder(cfg: DictConfig, folder: RunFolder) -> None:
    """Raise InputError where `folder` holds another run than `cfg`, or this one, finished."""
    stored = folder.config()
    if stored is None:
        return
    if stored["config_digest"] != digest(cfg):
        raise InputError(f"{folder} holds another run already: set hydra.run.dir to a new folder.")
    if folder.is_finished and _length(OmegaConf.create(stored)) == _length(cfg):
        raise InputError(
            f"{folder} holds this run already, finished: set hydra.run.dir to another."
        )


def _length(cfg: DictConfig) -> list[Any]:
    return [OmegaConf.select(cfg, key) for key in _MAY_CHANGE]


def _latest(runs: Path = Path("runs")) -> RunFolder:
    """The unfinished run that was begun last, and that nobody trains."""
    begun = sorted(runs_below(runs), key=lambda run: (run.path / "config.yaml").stat().st_mtime)
    for folder in reversed(begun):
        if not folder.is_finished and not folder.is_held:
            return folder
    raise InputError(
        f"nothing to resume: {runs.resolve()} holds no unfinished run. Say resume=<run folder>."
    )

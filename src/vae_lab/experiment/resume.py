"""How a run goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae_lab.errors import InputError
from vae_lab.storage.run_folder import is_held, result, run_folders, stored_config

_MAY_CHANGE = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")
"""What may be said anew where a run goes on: how long."""


def length(cfg: DictConfig) -> list[Any]:
    """How long a job trains, the one thing that may change when it goes on."""
    return [OmegaConf.select(cfg, key) for key in _MAY_CHANGE]


def resumed(wanted: str, overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """The configuration and folder of the run to continue: `wanted` is "latest" or a folder.

    `overrides` may lengthen it. Raises InputError for a run that is not there, has finished, is in
    use, or would become another.
    """
    folder = _latest() if wanted == "latest" else Path(wanted).resolve()
    cfg = stored_config(folder)
    if cfg is None:
        raise InputError(f"no run at {folder}: give resume= a run folder, with config.yaml in it.")
    changes = [o.lstrip("+") for o in overrides if not o.startswith(("resume=", "hydra."))]
    for change in changes:
        if change.partition("=")[0] not in _MAY_CHANGE:
            raise InputError(
                f"a resumed run stays what it was: drop {change}. Only {', '.join(_MAY_CHANGE)} "
                f"may change; init_from={folder} starts a new run from its weights."
            )
    if result(folder) is not None and not changes:
        raise InputError(
            f"{folder} has finished: say trainer.max_epochs=... to train it longer, or "
            f"init_from={folder} for a new run from its weights."
        )
    cfg.merge_with(OmegaConf.from_dotlist(changes))
    return cfg, folder


def _latest(runs: Path = Path("runs")) -> Path:
    """The unfinished run that was begun last, and that nobody trains."""
    begun = sorted(run_folders(runs), key=lambda run: (run / "config.yaml").stat().st_mtime)
    for folder in reversed(begun):
        if result(folder) is None and not is_held(folder):
            return folder.resolve()
    raise InputError(
        f"nothing to resume: {runs.resolve()} holds no unfinished run. Say resume=<run folder>."
    )

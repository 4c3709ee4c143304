"""What a run folder holds, and how a run goes on from it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae_lab.checkpoint import read_checkpoint
from vae_lab.errors import InputError
from vae_lab.storage import LOCK, is_held

_MAY_CHANGE = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")
"""What may be said anew where a run goes on: how long."""


def asked(cfg: DictConfig) -> str:
    """A digest of a job's configuration as it was asked for, before anything is filled in."""
    plain = json.dumps(OmegaConf.to_container(cfg, resolve=True), sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def length(cfg: DictConfig) -> list[Any]:
    """How long a job trains, the one thing that may change when it goes on."""
    return [OmegaConf.select(cfg, key) for key in _MAY_CHANGE]


def result(folder: Path) -> dict[str, Any] | None:
    """What the finished run in `folder` ended with; None where none has finished."""
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.is_file() else None


def stored_config(folder: Path) -> DictConfig | None:
    """The configuration of the run that `folder` holds, if it holds one."""
    path = folder / "config.yaml"
    if not path.is_file():
        return None
    cfg = OmegaConf.load(path)
    if not isinstance(cfg, DictConfig) or "asked" not in cfg:
        raise InputError(f"{path} is no run's configuration: choose another folder.")
    return cfg


def run_folders(parent: Path) -> list[Path]:
    """The folders below `parent` that hold a run, finished or not, by name."""
    return sorted(path.parent for path in parent.rglob("config.yaml") if _is_run(path.parent))


def _is_run(folder: Path) -> bool:
    return (folder / LOCK).exists()  # W&B, too, writes files of the name config.yaml


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from, and its content; None where training has saved none yet.

    The one before the last where the last cannot be read. Raises InputError where neither can.
    """
    problem: InputError | None = None
    for name in ("last.ckpt", "previous.ckpt"):
        path = folder / "checkpoints" / name
        if path.is_file():
            try:
                return path, read_checkpoint(path)
            except InputError as error:
                problem = problem or error
    if problem is not None:
        raise problem
    return None


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

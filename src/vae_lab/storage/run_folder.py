"""What a run folder holds, and who holds it."""

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae_lab.errors import InputError
from vae_lab.storage.checkpoint import read_checkpoint


def config_digest(cfg: DictConfig) -> str:
    """A digest of a job's configuration as it was asked for, before anything is filled in."""
    plain = json.dumps(OmegaConf.to_container(cfg, resolve=True), sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


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
    if not isinstance(cfg, DictConfig) or "config_digest" not in cfg:
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


LOCK = ".lock"
"""The file in a run folder by which a process holds it."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder for the length of the block, or of this process, however that ends.

    Raises InputError where another process holds it.
    """
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{folder} is in use by another process: wait for its end, or choose another."
            ) from error
        yield


def is_held(folder: Path) -> bool:
    """Whether some process trains in `folder`."""
    try:
        with held(folder):
            return False
    except InputError:
        return True

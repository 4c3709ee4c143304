"""What a run folder holds, and who holds it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from vae_lab.errors import InputError
from vae_lab.storage.checkpoint import read_checkpoint
from vae_lab.storage.files import atomic_file

LOCK = ".lock"
"""The file by which a process holds a run folder. It stays, and so tells a run's config.yaml from
those that W&B writes."""


class RunFolder(os.PathLike[str]):
    """A folder for one run: its configuration, its checkpoints, and how it ended."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__

    # How far its run has come

    def config(self) -> dict[str, Any] | None:
        """The configuration of the run; None before one was begun. InputError for another's."""
        path = self.path / "config.yaml"
        if not path.is_file():
            return None
        try:
            config = yaml.safe_load(path.read_text())
        except yaml.YAMLError:
            config = None
        if not isinstance(config, dict) or "config_digest" not in config:
            raise InputError(f"{path} is no run's configuration: choose another folder.")
        return config

    def result(self) -> dict[str, Any] | None:
        """What the run ended with; None where it has not finished."""
        return _read_json(self.path / "result.json")

    def failure(self) -> dict[str, Any] | None:
        """What `fail` left of a job that failed, since when none was begun here."""
        return _read_json(self.path / "failed.json")

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end."""
        return (self.path / "result.json").is_file()

    @property
    def is_held(self) -> bool:
        """Whether some process trains in it."""
        try:
            with self.hold():
                return False
        except InputError:
            return True

    def newest_checkpoint(self) -> tuple[Path, dict[str, Any]] | None:
        """The checkpoint to go on from, and its content; None where training has saved none yet.

        The one before the last where the last cannot be read. Raises InputError where neither can.
        """
        problem: InputError | None = None
        for name in ("last.ckpt", "previous.ckpt"):
            path = self.path / "checkpoints" / name
            if path.is_file():
                try:
                    return path, read_checkpoint(path)
                except InputError as error:
                    problem = problem or error
        if problem is not None:
            raise problem
        return None

    # Writing

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the folder for the length of the block, or of this process, however that ends.

        Raises InputError where another process holds it.
        """
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(
                f"{self} is in use by another process: wait for its end, or choose another."
            ) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def claim(self, config: str) -> Iterator[None]:
        """Begin a run, or go on with it: hold the folder, made where there is none.

        `config`, in YAML, becomes its config.yaml; how an earlier attempt ended is forgotten.
        Raises InputError where the folder is in use or cannot be written.
        """
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(self.hold())
                with atomic_file(self.path / "config.yaml") as part:
                    part.write_text(config)
                for old in ("result.json", "failed.json"):
                    (self.path / old).unlink(missing_ok=True)
            except OSError as error:
                raise InputError(
                    f"the run cannot be written to {self} ({error.strerror}): set hydra.run.dir to "
                    "a folder that can."
                ) from error
            yield

    def finish(self, result: Mapping[str, Any]) -> None:
        """Leave what the run ended with, by which it is known to have finished."""
        with atomic_file(self.path / "result.json") as part:
            part.write_text(json.dumps(result) + "\n")

    def fail(self, overrides: Mapping[str, str], reason: str, traceback: str) -> None:
        """Leave word of a job that failed, for the table over its sweep."""
        self.path.mkdir(parents=True, exist_ok=True)
        told = {"overrides": dict(overrides), "reason": reason, "traceback": traceback}
        (self.path / "failed.json").write_text(json.dumps(told, indent=2) + "\n")


def runs_below(parent: Path) -> list[RunFolder]:
    """The folders below `parent` that hold a run, finished or not, by path."""
    found = (path.parent for path in parent.rglob("config.yaml"))
    return [RunFolder(path) for path in sorted(found) if (path / LOCK).exists()]


def _read_json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.is_file() else None

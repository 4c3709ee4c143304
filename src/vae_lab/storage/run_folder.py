"""What a run folder holds, and who holds it."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from vae_lab.errors import InputError
from vae_lab.storage.checkpoint import read_checkpoint
from vae_lab.storage.files import atomic_file, read_json
from vae_lab.storage.run_config import read_config, write_config

LOCK = ".lock"
"""The file by which a process holds a run folder. It stays, and so tells a run's config.yaml from
those that W&B writes."""

_WRITTEN = (
    "checkpoints", "figures", "csv", "tensorboard", "profile", "result.json", "evaluation.json"
)  # fmt: skip
"""What a run replaces, beside config.yaml and failed.json."""

Check = Callable[[Path, dict[str, Any]], None]


class Found(NamedTuple):
    """The checkpoint that a run can go on from."""

    path: Path
    content: dict[str, Any]
    problem: str | None  # why not from a newer one


class RunFolder(os.PathLike[str]):
    """A folder for one run: its configuration, its checkpoints, and how it ended."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__

    # How far its run has come

    def config(self) -> dict[str, Any] | None:
        """The configuration of the run, with the paths of where it lies now; None before any.

        Raises InputError for another file of that name, or one that is cut short.
        """
        path = self.path / "config.yaml"
        return read_config(path) if path.is_file() else None

    def result(self) -> dict[str, Any] | None:
        """What the run ended with; None where it has not finished.

        Raises InputError for a damaged file, and so does `failure`.
        """
        path = self.path / "result.json"
        if not path.is_file():
            return None
        found = read_json(path, metrics=dict, best=float | int | None, measure=dict)
        if not all(isinstance(value, float | int) for value in found["metrics"].values()):
            raise InputError(f"{path} is damaged (a metric is no number): remove it.")
        return found

    def failure(self) -> dict[str, Any] | None:
        """What `fail` left of a job that failed, since when none was begun here."""
        path = self.path / "failed.json"
        return read_json(path, overrides=dict, reason=str) if path.is_file() else None

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end."""
        return (self.path / "result.json").is_file()

    @property
    def is_held(self) -> bool:
        """Whether some process trains in it."""
        if not (self.path / LOCK).exists():
            return False
        try:
            with self.hold():
                return False
        except InputError:
            return True

    @property
    def has_checkpoints(self) -> bool:
        """Whether a run has saved anything."""
        return any((self.path / "checkpoints").glob("*.ckpt"))

    @property
    def strangers(self) -> list[str]:
        """What lies where a run would write, in a folder without config.yaml."""
        places = [self.path / name for name in _WRITTEN]
        return [p.name for p in places if p.is_file() or (p.is_dir() and any(p.iterdir()))]

    def newest_checkpoint(self, check: Check = lambda path, content: None) -> Found | None:
        """The checkpoint to go on from; None where training has saved none yet.

        The one before the last where the last cannot be used.

        Args:
            check: Raises InputError for a checkpoint, of this path and content, that is of no use.

        Raises:
            InputError: Where there are some, and none can be used; where they are gone.
        """
        found = [self.path / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt")]
        problems: list[InputError] = []
        for path in (path for path in found if path.is_file()):
            try:
                content = read_checkpoint(path)
                check(path, content)
            except InputError as error:
                problems.append(error)
            else:
                return Found(path, content, str(problems[0]) if problems else None)
        best = self.path / "checkpoints" / "best.ckpt"
        try:
            kept = read_checkpoint(best)["epoch"] if best.is_file() else None
        except InputError:
            kept = None
        weights = (
            "" if kept is None else f" init_from={best} begins a new run from its best weights."
        )
        if problems:
            other = " Nor can previous.ckpt be used." if len(problems) > 1 else ""
            raise InputError(f"{problems[0]}{other}{weights}") from problems[0]
        # A kill between best.ckpt and the first last.ckpt leaves the former alone, of epoch 0.
        if self.is_finished or (best.is_file() and kept != 0):
            raise InputError(
                f"{self} has trained, but has no last.ckpt to go on from: set hydra.run.dir to a "
                f"new folder.{weights}"
            )
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
    def claim(self) -> Iterator[None]:
        """Hold the folder, made where there is none, to begin a run or to go on with it.

        Where the block does not come to `begin`, what was made for it goes again. Raises InputError
        where the folder is in use or cannot be written.
        """
        made = [place for place in (self.path, *self.path.parents) if not place.exists()]
        try:
            with ExitStack() as stack:
                with self._written():
                    self.path.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(self.hold())
                try:
                    yield
                finally:
                    if not (self.path / "config.yaml").exists():
                        with suppress(OSError):
                            (self.path / LOCK).unlink()
        finally:
            for place in made:
                with suppress(OSError):
                    place.rmdir()  # those alone that are empty

    def begin(self, config: str) -> None:
        """Make `config`, in YAML, the run's config.yaml; how an earlier attempt ended is forgotten.

        Raises InputError where it cannot be written.
        """
        with self._written():
            write_config(self.path / "config.yaml", config)
            for old in ("result.json", "failed.json"):
                (self.path / old).unlink(missing_ok=True)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"the run cannot be written to {self} ({error.strerror}): set hydra.run.dir to "
                "a folder that can."
            ) from error

    def finish(self, result: Mapping[str, Any]) -> None:
        """Leave what the run ended with, by which it is known to have finished."""
        with atomic_file(self.path / "result.json") as part:
            part.write_text(json.dumps(result) + "\n")

    def fail(self, overrides: Mapping[str, str], reason: str, traceback: str) -> None:
        """Leave word of a job that failed, for the table over its sweep."""
        self.path.mkdir(parents=True, exist_ok=True)
        told = {"overrides": dict(overrides), "reason": reason, "traceback": traceback}
        with atomic_file(self.path / "failed.json") as part:
            part.write_text(json.dumps(told, indent=2) + "\n")


def runs_below(parent: Path) -> list[RunFolder]:
    """The folders below `parent` that hold a run, finished or not, by path."""
    found = (path.parent for path in parent.rglob("config.yaml"))
    return [RunFolder(path) for path in sorted(found) if (path / LOCK).exists()]

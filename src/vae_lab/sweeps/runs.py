"""Runs of any origin, and jobs that never became one, read from what their folders hold."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from vae_lab.errors import InputError
from vae_lab.evaluation.measure import Measure
from vae_lab.evaluation.statistics import Estimate
from vae_lab.storage.run_folder import RunFolder, runs_below

T = TypeVar("T")

EVALUATED = "evaluated/"
"""What the names of an evaluation's estimates begin with, among a run's metrics."""


@dataclass(frozen=True)
class Result:
    """What a run leaves in its result.json."""

    metrics: dict[str, float]
    best: float | None
    measure: Measure
    monitor: str = "val/elbo"  # the metric that `best` is
    objective: str = ""  # what else than the ELBO was trained, in words
    best_epoch: int | None = None  # from 1

    @property
    def ranked_with(self) -> tuple[Measure, str, str]:
        """What another's `best` must have in common with this one's to be ranked with it.

        The ELBO is the same whatever was trained; the objective's own value is not.
        """
        own = self.objective if self.monitor == "val/objective" else ""
        return self.measure, self.monitor, own


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` leaves in a run's evaluation.json, as far as a table tells of it."""

    estimates: dict[str, Estimate]
    num_draws: int
    items: int
    draw_seed: int
    checkpoint: str = "best.ckpt"
    epochs: int | None = None  # that this checkpoint had seen

    def is_of(self, result: Result) -> bool:
        """Whether it scored what the run has come to, and not what it had before it went on."""
        told = result.best_epoch, self.epochs
        return self.checkpoint != "best.ckpt" or None in told or len(set(told)) == 1

    @property
    def compared_with(self) -> tuple[int, int, int]:
        """What another's must have in common with this one to stand in a column with it."""
        return self.num_draws, self.items, self.draw_seed


@dataclass(frozen=True)
class Failure:
    """What a job that failed leaves in its failed.json."""

    overrides: dict[str, str]
    reason: str


@dataclass(frozen=True)
class Job:
    """A run, or a job of a sweep that failed before its run began."""

    folder: Path
    config: dict[str, Any] | None
    overrides: dict[str, str]  # a sweep's
    result: Result | None  # None of one that has not come to its end
    problem: str = ""  # why it failed, in one line
    evaluation: Evaluation | None = None

    def with_estimates(self) -> "Job":
        """The same, with the estimates of its evaluation among its result's metrics."""
        if self.result is None or self.evaluation is None:
            return self
        told = {f"{EVALUATED}{name}": e.value for name, e in self.evaluation.estimates.items()}
        result = replace(self.result, metrics={**self.result.metrics, **told})
        return replace(self, result=result)

    @property
    def seed(self) -> str:
        """In the configuration or, where no run was begun, on the command line."""
        return str((self.config or self.overrides).get("seed"))


def jobs(folders: Iterable[Path]) -> list[Job]:
    """All below the folders, each once, in the order they ended.

    Searches for a learning rate are left out. Among a run's metrics are those of its evaluation, as
    "evaluated/nll", where all runs that have finished were evaluated alike.
    """
    found = {run.path: run for folder in folders for run in _runs(folder)}
    read = [_job(run) for run in found.values()]
    kept = [job for job in read if not (job.config or {}).get("lr_find")]
    return _evaluated(sorted(kept, key=lambda job: _ended(job.folder)))


def _evaluated(found: list[Job]) -> list[Job]:
    read = [job.evaluation for job in found if job.result]
    alike = {evaluation and evaluation.compared_with for evaluation in read}
    return found if None in alike or len(alike) > 1 else [job.with_estimates() for job in found]


def _ended(folder: Path) -> float:
    result = folder / "result.json"
    return (result if result.is_file() else folder).stat().st_mtime


def _runs(folder: Path) -> Iterator[RunFolder]:
    yield from runs_below(folder)
    yield from (RunFolder(path.parent) for path in folder.rglob("failed.json"))


def _job(run: RunFolder) -> Job:
    config, overrides, result, problem, evaluation = None, {}, None, "", None
    try:
        config = run.config()
        overrides = {k: str(v) for k, v in ((config or {}).get("overrides") or {}).items()}
        result = _read(Result, run.path / "result.json")
        evaluation = _read(Evaluation, run.path / "evaluation.json")
        failure = _read(Failure, run.path / "failed.json")
        if result and evaluation and not evaluation.is_of(result):
            evaluation = None
        if failure is not None:
            overrides, problem = failure.overrides, failure.reason
    except (ValueError, AttributeError, OSError, RecursionError) as error:
        said = str(error) if isinstance(error, InputError) else f"{run} cannot be read"
        problem = " ".join(said.split())
    result = None if problem else result
    return Job(run.path, config, overrides, result, problem, evaluation)


def _read(kind: type[T], path: Path) -> T | None:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path} cannot be read: it is cut short, or not vae-lab's. Remove it, and the command "
            "that made it makes it again."
        ) from error

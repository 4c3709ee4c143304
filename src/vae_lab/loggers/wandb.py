"""Weights & Biases, as this project uses it."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlparse

from lightning.pytorch.loggers import WandbLogger
from pydantic import StringConstraints

from vae_lab.arguments import Text
from vae_lab.errors import InputError, one_line, unknown
from vae_lab.loggers import artifacts
from vae_lab.loggers.offline import mended_history
from vae_lab.terminal import tell

STEP = "trainer/global_step"  # Lightning's x-axis of every chart
MODES = ("online", "offline", "disabled")
BEST = {"elbo": "max", "bits_per_dim": "min", "objective": "max"}  # what a summary keeps of each
Project = Annotated[
    Text,
    StringConstraints(pattern=r"^[^/\\#?%:]{1,128}$"),
    "a name without / \\ # ? % :, not too long",
]
RunId = Annotated[
    Text, StringConstraints(pattern=r"^[^:;,#?/'\s]+$"), "a name without : ; , # ? / ' or spaces"
]
INTERRUPTED = 255  # the exit code of a run that W&B shows as killed


Row = tuple[int | None, frozenset[str]]
"""What is logged together, at a step."""


class WandB(WandbLogger):
    """Weights & Biases, which never asks: online where a key is configured, else offline.

    WANDB_MODE, where set, decides. Files go to `save_dir`/wandb. `save_dir` is the run folder:
    its kept checkpoint and its figures become artifacts at the end, by option. Where W&B cannot be
    reached it is offline, and where it breaks down training goes on without it; both are told.

    A run that goes on offline has two folders, which W&B joins in the upload: what the first
    attempt logged after its last checkpoint is not logged again. A signal loses no row; SIGKILL
    loses those that W&B's own process has not written yet, which writes blocks of 32 KiB.
    """

    def __init__(
        self,
        save_dir: Text,
        project: Project,
        name: Text,
        id: RunId | None,
        group: Text | None,
        tags: list[Text],
        log_checkpoints: bool = False,
        log_samples: bool = False,
    ) -> None:
        """Raises InputError where wandb is not installed, or WANDB_MODE is none of its modes.

        Args:
            save_dir: The run folder.
            project: W&B's project.
            name: Of the run, for people.
            id: Of the run, for W&B: one of the same id goes on.
            group: Of runs that belong together, such as a sweep's.
            tags: To find the run by.
            log_checkpoints: Whether the kept checkpoint becomes an artifact.
            log_samples: Whether the figures do.
        """
        if find_spec("wandb") is None:
            raise InputError("logger=wandb needs wandb: pip install wandb, or say logger=csv.")
        mode = os.environ.get("WANDB_MODE") or ("online" if has_wandb_key() else "offline")
        if mode not in MODES:
            raise unknown("WANDB_MODE", mode, MODES)
        super().__init__(
            name=name,
            save_dir=save_dir,
            project=project,
            id=id,
            group=group,
            tags=tags,
            mode=mode,
            settings={"silent": True},
        )
        self._wandb_init.pop("anonymous", None)  # Lightning passes what wandb warns of
        self.mode = mode
        self.log_checkpoints, self.log_samples = log_checkpoints, log_samples
        self._folder = Path(save_dir)
        self._before: Counter[Row] = Counter()  # what earlier attempts have logged, and how often
        self._best: dict[str, float] = {}  # of theirs, by metric
        self._summaries: dict[str, str] = {}  # which value of a metric is its best: max or min

    @property
    def experiment(self) -> Any:
        if self._experiment is None and self.mode == "online":
            try:
                return super().experiment
            except Exception as error:
                reason = one_line(error)
                tell(
                    "warning",
                    f"W&B cannot be reached, logging offline: wandb sync later ({reason})",
                )
                _end_service()
                self.mode = self._wandb_init["mode"] = "offline"
        return super().experiment

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        if self._is_new(metrics, step):
            with self.going_on():
                super().log_metrics(metrics, step)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **more: Any) -> None:
        with self.going_on():
            super().log_image(key, images, step, **more)  # which logs it as a metric

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Whatever breaks within W&B costs its log from here on, and nothing else."""
        try:
            yield
        except Exception as error:
            tell("warning", f"W&B broke down, training goes on without it ({one_line(error)})")
            _end_service()
            import wandb

            self._experiment = wandb.init(mode="disabled")  # takes anything, does nothing

    def begin(self, monitor: str) -> None:
        """Recall what was logged before, and let the summary keep the best of every figure.

        Args:
            monitor: Another metric whose largest value the summary keeps.
        """
        self._summaries = {
            f"{split}/{name}": BEST[name] for split in ("train", "val") for name in BEST
        }
        self._summaries.setdefault(monitor, "max")
        if any(self._folder.glob("wandb/offline-run-*")):
            _end_service()  # so that an earlier attempt in this very process is on the disk
        for row in mended_history(self._folder, str(self._id)):
            self._before[_row(row, row.get(STEP))] += 1
            for name in row.keys() & self._summaries.keys():
                self._best[name] = self._better(name, row[name])
        for name, best in self._summaries.items():
            self.experiment.define_metric(name, summary=best, step_metric=STEP)

    def how_to_view(self) -> list[str]:
        """Lines that say where the run can be looked at."""
        if self.mode == "online":
            return [f"W&B: {self.experiment.url}"]
        if self.mode == "disabled":
            return []
        folder = self._folder / "wandb"
        if folder.is_relative_to(Path.cwd()):
            folder = folder.relative_to(Path.cwd())
        view, upload = f"wandb leet {folder}", f"wandb sync {folder}/offline-run-*"
        return ["W&B is offline. To view the run, and to upload it:", view, upload]

    def finish(self, exit_code: int = 0) -> None:
        """Close the run, marked failed unless `exit_code` is 0. Does nothing before it began."""
        if self._experiment is None:
            return
        with self.going_on():
            try:
                if exit_code == 0 and self.log_checkpoints:
                    artifacts.log_checkpoint(self.experiment, self._folder)
                if exit_code == 0 and self.log_samples:
                    artifacts.log_figures(self.experiment, self._folder)
            finally:
                for name in self._best:
                    best, summary = self._summaries[name], self.experiment.summary
                    summary[name] = {best: self._better(name, summary.get(name, {}).get(best))}
                self.experiment.finish(exit_code=exit_code)

    def _is_new(self, names: Iterable[str], step: int | None) -> bool:
        """Whether no earlier attempt has logged these together at that step, as often as this."""
        row = _row(names, step)
        self._before[row] -= 1
        return self._before[row] < 0

    def _better(self, name: str, value: float | None) -> float:
        """The best of a metric: of a value, and of earlier attempts."""
        both = [each for each in (value, self._best.get(name)) if each is not None]
        return max(both) if self._summaries[name] == "max" else min(both)


def _row(names: Iterable[str], step: int | None) -> Row:
    return step, frozenset(name for name in names if name != STEP and not name.startswith("_"))


def _end_service() -> None:
    """W&B's own process; the next run starts another."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def has_wandb_key() -> bool:
    """Whether an API key is configured, in the environment or in a netrc file. No network."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False

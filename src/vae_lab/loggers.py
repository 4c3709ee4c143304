"""Loggers: W&B as this project uses it, and how images and histograms reach any of them."""

import csv
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import singledispatch
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from matplotlib.image import imread
from rich.console import Console
from torch import Tensor

from vae_lab import artifacts
from vae_lab.errors import InputError, one_line

_STEP = "trainer/global_step"  # Lightning's x-axis of every chart


class WandB(WandbLogger):
    """Weights & Biases, which never asks: online where a key is configured, else offline.

    WANDB_MODE, where set, decides. Files go to `save_dir`/wandb. `save_dir` is the run folder:
    its kept checkpoint and its figures become artifacts at the end, by option. Where W&B cannot be
    reached it is offline, and where it breaks down training goes on without it; both are told.
    """

    def __init__(
        self,
        save_dir: str,
        project: str,
        name: str,
        id: str | None,
        group: str | None,
        tags: list[str],
        log_checkpoints: bool = False,
        log_samples: bool = False,
    ) -> None:
        """A run of the same `id` goes on. Raises InputError where wandb is not installed."""
        if find_spec("wandb") is None:
            raise InputError("logger=wandb needs wandb: pip install wandb, or say logger=csv.")
        mode = os.environ.get("WANDB_MODE") or ("online" if has_wandb_key() else "offline")
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
        self._broken = False

    @property
    def experiment(self) -> Any:
        if self._broken:
            return _Nobody()
        if self._experiment is None and self.mode == "online":
            try:
                return super().experiment
            except Exception as error:
                reason = one_line(error)
                _tell(f"W&B cannot be reached, logging offline: wandb sync later ({reason})")
                _end_service()
                self.mode = self._wandb_init["mode"] = "offline"
        return super().experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with self._going_on():
            super().log_metrics(metrics, step)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **more: Any) -> None:
        with self._going_on():
            super().log_image(key, images, step, **more)

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Whatever breaks within W&B costs its log from here on, and nothing else."""
        try:
            yield
        except Exception as error:
            _tell(f"W&B broke down, training goes on without it ({one_line(error)})")
            self._broken = True
            _end_service()

    def define_summaries(self, monitor: str) -> None:
        """Let the run's summary keep the best of every figure."""
        run = self.experiment
        for split in ("train", "val"):
            for figure, best in (("elbo", "max"), ("bits_per_dim", "min"), ("objective", "max")):
                run.define_metric(f"{split}/{figure}", summary=best, step_metric=_STEP)
        run.define_metric(monitor, summary="max", step_metric=_STEP)

    def how_to_view(self) -> str:
        """One line: where the run can be looked at."""
        if self.mode == "online":
            return f"W&B: {self.experiment.url}"
        folder = Path(self.experiment.dir).parent
        return f"W&B is offline. View: wandb leet {folder}   Upload: wandb sync {folder}"

    def finish(self, failed: bool) -> None:
        """Close the run, marked failed where it failed. Does nothing before it began."""
        if self._experiment is None or self._broken:
            return
        with self._going_on():
            try:
                if not failed and self.log_checkpoints:
                    artifacts.log_checkpoint(self.experiment, self._folder)
                if not failed and self.log_samples:
                    artifacts.log_figures(self.experiment, self._folder)
            finally:
                self.experiment.finish(exit_code=1 if failed else 0)


class _Nobody:
    """Stands in for a W&B run that is gone: takes anything, does nothing."""

    def __getattr__(self, name: str) -> Any:
        return _Nobody()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _Nobody()


def _end_service() -> None:
    """W&B's own process; the next run starts another."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _tell(line: str) -> None:
    Console(stderr=True).print(f"[bold yellow]warning:[/] {line}", soft_wrap=True, highlight=False)


class CSV(CSVLogger):
    """Lightning's CSVLogger, whose metrics.csv a resumed run goes on with."""

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="csv", version="")
        self._before: list[dict[str, Any]] = []

    @property
    def experiment(self) -> Any:
        if self._experiment is None:
            path = Path(self.log_dir) / "metrics.csv"
            if path.is_file():  # Lightning would delete it
                with path.open(newline="") as file:
                    self._before = [_numbers(row) for row in csv.DictReader(file)]
                path.unlink()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*logs directory .* exists")
                return super().experiment
        return super().experiment

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        written = self.experiment.metrics
        if self._before:  # what is logged again from the checkpoint on replaces what was
            written[:0] = [row for row in self._before if step is None or row["step"] < step]
            self._before = []
        super().log_metrics(metrics, step)


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    given = {name: float(value) for name, value in row.items() if value}
    return given | {name: int(given[name]) for name in ("step", "epoch") if name in given}


def has_wandb_key() -> bool:
    """Whether an API key is configured, in the environment or in a netrc file. No network."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


@singledispatch
def log_image(logger: Logger, name: str, path: Path, step: int) -> None:
    """Send the PNG at `path` to a logger; one that takes no images (csv) is passed over."""


@log_image.register
def _(logger: WandbLogger, name: str, path: Path, step: int) -> None:
    logger.log_image(key=name, images=[str(path)], step=step)


@log_image.register
def _(logger: TensorBoardLogger, name: str, path: Path, step: int) -> None:
    logger.experiment.add_image(name, imread(path), step, dataformats="HWC")


@singledispatch
def log_histograms(logger: Logger, values: Mapping[str, Tensor], step: int) -> None:
    """Send what is finite of each tensor as a histogram; csv, which takes none, is passed over."""


@log_histograms.register
def _(logger: WandbLogger, values: Mapping[str, Tensor], step: int) -> None:
    import wandb

    counts = {name: np.histogram(kept, bins=64) for name, kept in _finite(values).items()}
    histograms = {name: wandb.Histogram(np_histogram=count) for name, count in counts.items()}
    logger.experiment.log({**histograms, _STEP: step})


@log_histograms.register
def _(logger: TensorBoardLogger, values: Mapping[str, Tensor], step: int) -> None:
    for name, kept in _finite(values).items():
        logger.experiment.add_histogram(name, kept, step)


def takes_histograms(logger: Logger) -> bool:
    """Whether `log_histograms` sends this logger anything."""
    return log_histograms.dispatch(type(logger)) is not log_histograms.dispatch(Logger)


def _finite(values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    plain = {name: value.detach().float().cpu().numpy() for name, value in values.items()}
    finite = {name: value[np.isfinite(value)] for name, value in plain.items()}
    return {name: value for name, value in finite.items() if value.size}

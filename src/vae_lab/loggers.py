"""Loggers: W&B as this project uses it, and how an image reaches any of them."""

import csv
import os
import warnings
from functools import singledispatch
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from matplotlib.image import imread

from vae_lab.errors import InputError

_STEP = "trainer/global_step"  # Lightning's x-axis of every chart


class WandB(WandbLogger):
    """Weights & Biases, which never asks: online where a key is configured, else offline.

    WANDB_MODE, where set, decides. Files go to `save_dir`/wandb.
    """

    def __init__(
        self,
        save_dir: str,
        project: str,
        name: str,
        id: str | None,
        group: str | None,
        tags: list[str],
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
        if self._experiment is not None:
            self.experiment.finish(exit_code=1 if failed else 0)


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

"""Weights & Biases, as this project uses it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

from vae_lab.arguments import Text, checked
from vae_lab.errors import InputError, one_line
from vae_lab.loggers import artifacts

_MODE = Literal["online", "offline", "disabled", "shared", "dryrun", "run"]
STEP = "trainer/global_step"  # Lightning's x-axis of every chart


class WandB(WandbLogger):
    """Weights & Biases, which never asks: online where a key is configured, else offline.

    WANDB_MODE, where set, decides. Files go to `save_dir`/wandb. `save_dir` is the run folder:
    its kept checkpoint and its figures become artifacts at the end, by option. Where W&B cannot be
    reached it is offline, and where it breaks down training goes on without it; both are told.
    """

    def __init__(
        self,
        save_dir: Text,
        project: Text,
        name: Text,
        id: Text | None,
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
        checked("WANDB_MODE", mode, _MODE)
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

    @property
    def experiment(self) -> Any:
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
        with self.going_on():
            super().log_metrics(metrics, step)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **more: Any) -> None:
        with self.going_on():
            super().log_image(key, images, step, **more)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Whatever breaks within W&B costs its log from here on, and nothing else."""
        try:
            yield
        except Exception as error:
            _tell(f"W&B broke down, training goes on without it ({one_line(error)})")
            _end_service()
            import wandb

            self._experiment = wandb.init(mode="disabled")  # takes anything, does nothing

    def define_summaries(self, monitor: str) -> None:
        """Let the run's summary keep the best of every figure."""
        run = self.experiment
        for split in ("train", "val"):
            for figure, best in (("elbo", "max"), ("bits_per_dim", "min"), ("objective", "max")):
                run.define_metric(f"{split}/{figure}", summary=best, step_metric=STEP)
        run.define_metric(monitor, summary="max", step_metric=STEP)

    def how_to_view(self) -> str:
        """One line: where the run can be looked at."""
        if self.mode == "online":
            return f"W&B: {self.experiment.url}"
        folder = Path(self.experiment.dir).parent
        return f"W&B is offline. View: wandb leet {folder}   Upload: wandb sync {folder}"

    def finish(self, failed: bool) -> None:
        """Close the run, marked failed where it failed. Does nothing before it began."""
        if self._experiment is None:
            return
        with self.going_on():
            try:
                if not failed and self.log_checkpoints:
                    artifacts.log_checkpoint(self.experiment, self._folder)
                if not failed and self.log_samples:
                    artifacts.log_figures(self.experiment, self._folder)
            finally:
                self.experiment.finish(exit_code=1 if failed else 0)


def _end_service() -> None:
    """W&B's own process; the next run starts another."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _tell(line: str) -> None:
    Console(stderr=True).print(f"[bold yellow]warning:[/] {line}", soft_wrap=True, highlight=False)


def has_wandb_key() -> bool:
    """Whether an API key is configured, in the environment or in a netrc file. No network."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False

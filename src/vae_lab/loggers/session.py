"""Where a run's loggers begin and end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import Logger

from vae_lab.loggers.wandb import WandB


@contextmanager
def session(
    loggers: Sequence[Logger], hyperparameters: Mapping[str, Any], monitor: str
) -> Iterator[None]:
    """Log a run's hyperparameters as it begins, and close W&B's run however it ends.

    Args:
        loggers: The run's.
        hyperparameters: Its configuration, and what else it may be found by.
        monitor: The metric whose largest value W&B's summary keeps.
    """
    runs = [logger for logger in loggers if isinstance(logger, WandB)]
    failed = True
    try:
        for logger in loggers:
            logger.log_hyperparams(dict(hyperparameters))
        for run in runs:
            run.define_summaries(monitor)
        yield
        failed = False
    finally:
        for run in runs:
            run.finish(failed)

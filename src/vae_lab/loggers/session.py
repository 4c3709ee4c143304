"""Where a run's loggers begin and end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import Logger

from vae_lab.loggers.wandb import INTERRUPTED, WandB


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
    exit_code = 1
    try:
        for run in runs:
            run.begin(monitor)
        for logger in loggers:
            logger.log_hyperparams(dict(hyperparameters))
        yield
        exit_code = 0
    except (KeyboardInterrupt, SystemExit):
        exit_code = INTERRUPTED
        raise
    finally:
        for run in runs:
            run.finish(exit_code)

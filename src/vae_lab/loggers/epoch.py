"""What an epoch found is logged before its checkpoint is written."""

from lightning.pytorch import Trainer


def log_epoch(trainer: Trainer) -> None:
    """Give the loggers, within `on_train_epoch_end`, what Lightning gives them just after it.

    So that a run stopped between the two has lost nothing: what it goes on from was logged.
    """
    connector, loop = trainer._logger_connector, trainer.fit_loop.epoch_loop
    connector.on_epoch_end()
    loop._batches_that_stepped -= 1  # as Lightning does: all of an epoch has its last step
    connector.update_train_epoch_metrics()  # which leaves nothing to be logged again
    loop._batches_that_stepped += 1

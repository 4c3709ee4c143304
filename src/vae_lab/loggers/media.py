"""How images and histograms reach a logger, whichever it is."""

from collections.abc import Mapping
from functools import singledispatch
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from matplotlib.image import imread
from torch import Tensor

from vae_lab.loggers.wandb import WandB


@singledispatch
def log_image(logger: Logger, name: str, path: Path, step: int) -> None:
    """Send the PNG at `path` to a logger; one that takes no images (csv) is passed over."""


@log_image.register
def _(logger: WandB, name: str, path: Path, step: int) -> None:
    logger.log_image(key=name, images=[str(path)], step=step)


@log_image.register
def _(logger: TensorBoardLogger, name: str, path: Path, step: int) -> None:
    logger.experiment.add_image(name, imread(path), step, dataformats="HWC")


@singledispatch
def log_histograms(logger: Logger, values: Mapping[str, Tensor], step: int) -> None:
    """Send what is finite of each tensor as a histogram; csv, which takes none, is passed over."""


@log_histograms.register
def _(logger: WandB, values: Mapping[str, Tensor], step: int) -> None:
    import wandb

    counts = {name: np.histogram(kept, bins=64) for name, kept in _finite(values).items()}
    histograms = {name: wandb.Histogram(np_histogram=count) for name, count in counts.items()}
    logger.log_metrics(histograms, step)


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

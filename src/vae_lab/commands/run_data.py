"""The data of a run and a device, for the commands that look at it again."""

import os
from errno import EACCES, EISDIR, ENOTDIR
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from vae_lab.config.restore import data_from_config
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError, cannot_write, explained
from vae_lab.evaluation.measure import Measure
from vae_lab.trained import TrainedVAE


def device_of(asked: DictConfig, command: str) -> torch.device:
    """The device that `asked.device` names; `asked` stands under the key `command`.

    Raises InputError for one that is not here.
    """
    usable = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
    if asked.device not in ("auto", *usable):
        raise InputError(
            f"{command}.device must be one of auto, {', '.join(usable)} here, not {asked.device}."
        )
    return torch.device(usable[0] if asked.device == "auto" else asked.device)


def run_data(trained: TrainedVAE, asked: DictConfig, command: str) -> ImageDataModule:
    """The data that a model was trained with, checked to be the same.

    Args:
        trained: The model of a run.
        asked: Has `data_root` and `data_path`: where the data lie now, null where they lay.
        command: The key that has `asked`, to be named.

    Raises:
        InputError: For a place that the data do not have, and for other data.
    """
    cfg = OmegaConf.create(trained.record["config"])
    for key, place in (("root", asked.data_root), ("path", asked.data_path)):
        if place is not None and key in cfg.data:
            cfg.data[key] = place
        elif place not in (None, os.environ.get("VAE_LAB_DATA")):  # which stands for all data
            raise InputError(f"{command}.data_{key}: the run's data have no {key}; leave it out.")
    data = data_from_config(cfg)
    found, expected = Measure.of(data, trained.model), trained.record["measure"]
    if not found.is_told_by(expected):
        raise InputError(
            f"the data are not those of the training: their hashes are {found.split} and "
            f"{found.evaluated}, not {expected['split']} and {expected['evaluated']}. "
            f"Set {command}.data_root or data_path to the original."
        )
    return data


def check_place(*files: Path, fix: str) -> None:
    """Raise InputError before the work where what it finds could not be written to `files`.

    `fix` says what to do then.
    """
    with explained(partial(cannot_write, files[0], fix)):
        for file in files:
            if file.is_dir():
                raise IsADirectoryError(EISDIR, "is a folder", str(file))
            folder = file.parent
            if folder.exists() and not folder.is_dir():
                raise NotADirectoryError(ENOTDIR, "is no folder", str(folder))
            if folder.exists() and not os.access(folder, os.W_OK):
                raise PermissionError(EACCES, "Permission denied", str(folder))

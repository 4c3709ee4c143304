"""Where a run is looked at again: the device, and the data it was trained with."""

import os
from dataclasses import asdict

import torch
from omegaconf import DictConfig, OmegaConf

from vae_lab.config import build
from vae_lab.config.allowed import check_parts
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError
from vae_lab.evaluation.measure import Measure
from vae_lab.trained import TrainedVAE


def device_of(asked: DictConfig, command: str) -> torch.device:
    """The device that `asked.device` names; `asked` stands under `command`."""
    usable = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
    name = asked.device
    if name not in ("auto", *usable):
        raise InputError(
            f"{command}.device must be one of auto, {', '.join(usable)} here, not {name}."
        )
    return torch.device(usable[0] if name == "auto" else name)


def data_of(trained: TrainedVAE, asked: DictConfig, command: str) -> ImageDataModule:
    """The data the model was trained with, checked to be the same.

    `asked`, which stands under `command`, says by `data_root` or `data_path` where they lie now.
    Raises InputError where they are not there, or are others.
    """
    cfg = OmegaConf.create(trained.record["config"])
    for key, place in (("root", asked.data_root), ("path", asked.data_path)):
        if place is not None and key in cfg.data:
            cfg.data[key] = place
        elif place not in (None, os.environ.get("VAE_LAB_DATA")):  # which stands for all data
            raise InputError(f"{command}.data_{key}: the run's data have no {key}; leave it out.")
    check_parts(cfg.data, "data", packages=("vae_lab",))
    data = build.data(cfg)
    found, expected = Measure.of(data, trained.model), trained.record["measure"]
    if asdict(found) != expected:
        raise InputError(
            f"the data are not those of the training: their hashes are {found.split} and "
            f"{found.evaluated}, not {expected['split']} and {expected['evaluated']}. "
            f"Set {command}.data_root or data_path to the original."
        )
    return data

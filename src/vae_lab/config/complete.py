"""A configuration is completed once, here, and read-only from then on."""

import copy
import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae_lab.data import ImageDataModule
from vae_lab.storage.run_folder import RunFolder


def complete(
    asked: DictConfig, folder: RunFolder, data: ImageDataModule, labels: Mapping[str, Any]
) -> DictConfig:
    """The configuration that a run is made with; what an earlier time has filled in stays.

    Args:
        asked: The configuration as it was composed, or as a run folder keeps it.
        folder: The run's.
        data: What `asked.data` describes, set up: its facts are filled in.
        labels: `name`, `group` and `overrides`, where `asked` has none.
    """
    cfg = with_facts(asked, data)
    for key in ("root", "path"):  # so that the data are found again from any folder
        if key in cfg.data:
            cfg.data[key] = str(Path(cfg.data[key]).resolve())
    for key, value in labels.items():
        cfg[key] = cfg[key] or value
    cfg.config_digest = digest(asked)
    cfg.run_dir = str(folder)
    cfg.run_id = asked.run_id or (folder.config() or {}).get("run_id") or secrets.token_hex(4)
    OmegaConf.set_readonly(cfg, True)
    return cfg


def with_facts(cfg: DictConfig, data: ImageDataModule) -> DictConfig:
    """A copy of `cfg` that says what the data themselves know: shape and number of classes."""
    cfg = copy.deepcopy(cfg)
    cfg.data.x_shape = list(data.x_shape or ())
    cfg.data.num_classes = data.num_classes
    return cfg


def digest(cfg: DictConfig) -> str:
    """A digest of a job's configuration as it was asked for, by which it is known again."""
    if cfg.config_digest is not None:
        return str(cfg.config_digest)
    plain = json.dumps(OmegaConf.to_container(cfg, resolve=True), sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]

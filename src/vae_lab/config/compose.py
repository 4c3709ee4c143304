"""The configuration a command runs with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig


def conf_dir() -> Path:
    """The folder of YAML: the installed package's copy, else the repository's."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"


def _as_dict(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return {key: value for key, _, value in pairs}


def compose_config(name: str, overrides: Sequence[str] = (), **options: Any) -> DictConfig:
    """The configuration a command would run with. Takes `hydra.compose`'s options."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(name, list(overrides), **options)

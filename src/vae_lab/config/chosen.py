"""The YAML that was chosen: whether each names one of a thing."""

from pathlib import Path
from typing import Any

import yaml
from hydra.conf import HydraConf

from vae_lab.errors import InputError


def check_files(hydra: HydraConf) -> None:
    """Raise InputError where a chosen YAML names two of a group, or sets a group to a value.

    An experiment that overrides `/data` twice is one: Hydra would take the first without a word.

    Args:
        hydra: Hydra's own configuration, of the composed job.
    """
    folders = [Path(s.path) for s in hydra.runtime.config_sources if s.schema == "file"]
    for group, choice in hydra.runtime.choices.items():
        for folder in folders:
            if (file := folder / group / f"{choice}.yaml").is_file():
                _check(file, set(hydra.runtime.choices))


def _check(file: Path, groups: set[str]) -> None:
    text = file.read_text()
    content = yaml.safe_load(text) or {}
    taken: dict[str, Any] = {}
    for entry in content.get("defaults", ()):
        for key, choice in entry.items() if isinstance(entry, dict) else ():
            group, place = _place(key)
            if place in taken:
                raise InputError(
                    f"{file} names two of {group}, {taken[place]} and {choice}: keep one."
                )
            taken[place] = choice
    if not text.startswith("# @package _global_"):
        return
    for group in groups & content.keys():
        if isinstance(content[group], str):
            raise InputError(
                f"{file} sets {group} to {content[group]}, which is no choice of it: say "
                f"`- override /{group}: {content[group]}` under its `defaults:`."
            )


def _place(key: str) -> tuple[str, str]:
    """The group that a key of a defaults list names, and where its choice goes."""
    group, _, package = key.split()[-1].lstrip("/").partition("@")
    return group, package.removeprefix("_global_.") or group.replace("/", ".")

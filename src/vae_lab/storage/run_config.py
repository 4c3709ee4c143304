"""A run's config.yaml: written whole, read as plain values, true wherever its folder lies."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from vae_lab.errors import InputError, explained, one_line
from vae_lab.storage.files import atomic_file

_END = "..."
"""YAML's own end of a document, by which a file that is cut short is known."""


def write_config(path: Path, config: str) -> None:
    """Write a configuration, in YAML, to `path`."""
    with atomic_file(path) as part:
        part.write_text(f"{config.rstrip()}\n{_END}\n")


def read_config(path: Path) -> dict[str, Any]:
    """The configuration in `path`, with the paths of the folder where that lies now.

    Raises InputError for another file of that name, one cut short, and one with interpolations.
    """
    with explained(partial(_no_config, path)):
        text = path.read_text()
        config = yaml.load(text, _WithoutAliases)
        if not isinstance(config, dict) or not isinstance(config.get("config_digest"), str):
            raise ValueError("it lacks config_digest")
        _check_plain(config)
    if not text.rstrip().endswith(f"\n{_END}"):
        raise InputError(
            f"{path} is cut short or of an earlier vae-lab, its last line is not '{_END}': start a "
            f"new run; init_from={path.parent} gives it the weights of this one."
        )
    if "${" in repr(config):
        raise InputError(f"{path} has interpolations, which no run writes: put values in place.")
    return relocated(config, path.parent)


def _no_config(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is no run's configuration ({one_line(error)[:80]}): choose another folder."
    )


class _WithoutAliases(yaml.SafeLoader):
    """Reads plain values; a few aliases of aliases would be billions of them."""

    def compose_node(self, parent: Any, index: int) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases")
        return super().compose_node(parent, index)


def _check_plain(node: Any) -> None:
    """Raises TypeError for what YAML knows besides: dates, sets, bytes."""
    match node:
        case dict():
            for value in node.values():
                _check_plain(value)
        case list():
            for value in node:
                _check_plain(value)
        case str() | int() | float() | None:
            return
        case _:
            raise TypeError(f"it has a {type(node).__name__}")


def relocated(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The configuration of a run that is found in `folder`, wherever it was made.

    Paths into the folder that it was made in lead into this one. Data that are no longer where they
    were are looked for where they lay as seen from the run, in case both have moved.
    """
    before = config.get("run_dir")
    if not isinstance(before, str) or before == str(folder):
        return config
    moved: dict[str, Any] = _moved(config, before, str(folder))
    data = moved.get("data")
    for key in ("root", "path"):
        place = data.get(key) if isinstance(data, dict) else None
        if isinstance(place, str) and not os.path.exists(place):
            beside = os.path.normpath(folder / os.path.relpath(place, before))
            if os.path.exists(beside):
                moved["data"][key] = beside
    return moved


def _moved(node: Any, before: str, now: str) -> Any:
    match node:
        case dict():
            return {key: _moved(value, before, now) for key, value in node.items()}
        case list():
            return [_moved(value, before, now) for value in node]
        case str() if node == before or node.startswith(f"{before}{os.sep}"):
            return now + node.removeprefix(before)
    return node

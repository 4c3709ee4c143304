"""What Hydra, OmegaConf, Optuna and the file system raise, in one line that names the fix."""

import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from vae_lab.config.compose import config_dirs
from vae_lab.errors import InputError, one_line, unknown


def explain(error: BaseException, overrides: Sequence[str]) -> InputError | None:
    """Say in one line what was wrong with the input; None for an error that is no fault of it.

    Args:
        error: What was raised while composing or running.
        overrides: What had been asked for: the arguments of the command line.
    """
    match error:
        case InputError():
            return error
        case MissingConfigException(missing_cfg_file=str(file), options=[*options]):
            group, _, choice = file.rpartition("/")
            known = [option for option in options if not str(option).startswith("_")]
            return unknown(f"choice of {group}", choice, known)
        case HydraException() | OmegaConfBaseException():
            return _unknown_key(error, overrides) or InputError(_said(error))
        case OSError() if not isinstance(error, BrokenPipeError):
            told = f"{error.strerror}: {error.filename}" if error.filename else one_line(error)
            return InputError(f"{told}. A run is written to hydra.run.dir: set one that can.")
        case ValueError():
            return _group_without_choice(overrides) or _search_without_success(error)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _said(error: BaseException) -> str:
    """The error's own words in one line, and of OmegaConf's, behind it, the first line."""
    words = [" ".join(str(error).split())] if str(error) else []
    for cause in _causes(error.__cause__):
        if isinstance(cause, OmegaConfBaseException):
            words.append(str(cause).partition("\n")[0])
    return ": ".join(words)


def _unknown_key(error: BaseException, overrides: Sequence[str]) -> InputError | None:
    for cause in _causes(error):
        if isinstance(cause, ConfigAttributeError | ConfigKeyError):
            parent, name = cause.parent_node, str(cause.key)
            if "/" in name:
                return unknown("group", name.partition("@")[0], _groups(overrides))
            if isinstance(parent, DictConfig):
                return _unknown_key_of(parent, (cause.full_key or "").rpartition(".")[0], name)
    return None


def _unknown_key_of(node: DictConfig, path: str, name: str) -> InputError:
    if path:
        return unknown(f"key of {path}", name, map(str, node))
    ours = {key: value for key, value in node.items_ex(resolve=False) if key != "hydra"}
    for key in _keys(OmegaConf.to_container(OmegaConf.create(ours))):
        if f"_{key.rpartition('.')[2]}".endswith(f"_{name}"):  # lr, epochs, batch_size, by habit
            return InputError(f"unknown key '{name}'. Did you mean '{key}'?")
    return unknown("key", name, map(str, ours))


def _keys(node: Any, path: str = "") -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{path}{key}"
        yield from _keys(value, f"{path}{key}.")


def _groups(overrides: Sequence[str]) -> set[str]:
    tops = config_dirs(overrides)
    return {f.relative_to(top).as_posix() for top in tops for f in top.rglob("*") if f.is_dir()}


def _group_without_choice(overrides: Sequence[str]) -> InputError | None:
    """Hydra's ValueError for `model=null`, as what was asked for tells."""
    groups, parser = _groups(overrides), OverridesParser.create()
    for text in overrides:
        group = text.lstrip("+").partition("=")[0].partition("@")[0]
        if group in groups and not isinstance(parser.parse_override(text).value(), str | list):
            return InputError(f"{text}: a group, such as {group}, takes one of its choices.")
    return None


def _search_without_success(error: ValueError) -> InputError | None:
    """Optuna's ValueError where it is asked for the best of no trials."""
    called = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    if "best_trial" in called:
        return InputError("every job of the sweep has failed: see the reasons above.")
    return None

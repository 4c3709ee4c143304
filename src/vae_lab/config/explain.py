"""What Hydra, OmegaConf, Optuna and the file system raise, in one line that names the fix."""

import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Sweep
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import Mark, MarkedYAMLError

from vae_lab.config.allowed import locate
from vae_lab.config.compose import choices, config_dirs
from vae_lab.config.settings import kinds
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
            return _unknown_choice(group, choice, options)
        case OverrideParseException(override=str(override), message=str(message)):
            lines = [" ".join(line.split()) for line in message.splitlines()]
            why = " ".join(li for li in lines if not li.startswith(("See https", "Error parsing")))
            return InputError(
                f"{override} cannot be read ({why}): say KEY=VALUE, brackets and quotes closed."
            )
        case MarkedYAMLError(problem=str(problem), problem_mark=Mark(name=file, line=line)):
            return InputError(f"{file}, line {line + 1}: {problem}.")
        case ConfigCompositionException() if re.match(r"In .* Could not override", str(error)):
            groups = ", ".join(sorted(_groups(overrides)))
            return InputError(
                f"{_said(error)} A file that overrides begins with `# @package _global_`, and "
                f"lists `- override /data: mnist` under `defaults:`. Groups: {groups}."
            )
        case ConfigCompositionException() if own := _own_of_the_run(error, overrides):
            return own
        case HydraException() | OmegaConfBaseException():
            return (
                _bad_choice(overrides) or _unknown_key(error, overrides) or InputError(_said(error))
            )
        case OSError() if not isinstance(error, BrokenPipeError):
            told = f"{error.strerror}: {error.filename}" if error.filename else one_line(error)
            return InputError(f"{told}. A run is written to hydra.run.dir: set one that can.")
        case ValueError():
            return _bad_choice(overrides) or _search_without_success(error)
    return None


def _own_of_the_run(error: BaseException, overrides: Sequence[str]) -> InputError | None:
    """Where a command that looks at a run is told to choose what the run has."""
    found = re.match(r"Could not override '([\w/]+)'", str(error))
    looks = any(text.startswith("run=") for text in overrides)
    if not (found and looks and found[1] in _groups(overrides)):
        return None
    asked = next((text for text in overrides if text.startswith(f"{found[1]}=")), found[1])
    return InputError(f"{asked}: the run's own model and data are used, so leave it out.")


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
            if (cause.full_key or "").startswith("hydra.runtime.choices."):
                return InputError(f"{name} is given a list: name one choice of the group.")
            if "/" in name:
                return unknown("group", name.partition("@")[0], _groups(overrides))
            if isinstance(parent, DictConfig):
                path = (cause.full_key or "").rpartition(".")[0]
                return _unknown_key_of(parent, path, name, overrides)
    return None


def _unknown_key_of(node: DictConfig, path: str, name: str, overrides: Sequence[str]) -> InputError:
    target = node.get("_target_")
    if target is not None and name in kinds(locate(target)):
        return InputError(f"{path}.{name} is not in the YAML: say +{path}.{name}=...")
    if path and not node:  # which has free keys, such as data.options
        return InputError(f"{path} holds nothing yet: say +{path}.{name}=...")
    if path:
        return unknown(f"key of {path}", name, map(str, node))
    ours = {key: value for key, value in node.items_ex(resolve=False) if key != "hydra"}
    keys = list(_keys(OmegaConf.to_container(OmegaConf.create(ours))))
    for key in keys:
        if f"_{key.rpartition('.')[2]}".endswith(f"_{name}"):  # lr, epochs, batch_size, by habit
            values = [o.partition("=")[2] for o in overrides if o.startswith(f"{name}=")]
            say = f" Say {key}={values[-1]}." if values else ""
            return InputError(f"unknown key '{name}'. Did you mean '{key}'?{say}")
    known = {key.rpartition(".")[2]: key for key in keys}  # a slip: `bacth_size`
    for close in get_close_matches(name, known, 1):
        return InputError(f"unknown key '{name}'. Did you mean '{known[close]}'?")
    return unknown("key", name, map(str, ours))


def _keys(node: Any, path: str = "") -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{path}{key}"
        yield from _keys(value, f"{path}{key}.")


def _groups(overrides: Sequence[str]) -> set[str]:
    tops = config_dirs(overrides)
    return {f.relative_to(top).as_posix() for top in tops for f in top.rglob("*") if f.is_dir()}


def check_choices(overrides: Sequence[str]) -> None:
    """Raise InputError where a group is not given one of its choices, or a key has no name.

    Hydra would merge several choices, such as two data sets, into one that is neither.
    """
    if (told := _bad_choice(overrides)) is not None:
        raise told


def _bad_choice(overrides: Sequence[str]) -> InputError | None:
    groups, parser = _groups(overrides), OverridesParser.create()
    for text in overrides:
        group = text.lstrip("+").partition("=")[0].partition("@")[0]
        if not group:
            return InputError(f"{text}: say KEY=VALUE, with the name of a key.")
        if group not in groups or text.startswith("~"):
            continue
        choice = parser.parse_override(text).value()
        if not isinstance(choice, str | dict | Sweep):
            return InputError(f"{text}: a group, such as {group}, takes one of its choices.")
        if str(choice).startswith("_"):
            return _unknown_choice(group, str(choice), choices(group, overrides))
    return None


def _unknown_choice(group: str, choice: str, options: Iterable[object]) -> InputError:
    known = [str(option) for option in options if not str(option).startswith("_")]
    return unknown(f"choice of {group}", choice, known)


def _search_without_success(error: ValueError) -> InputError | None:
    """Optuna's ValueError where it is asked for the best of no trials."""
    called = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    if "best_trial" in called:
        return InputError("every job of the sweep has failed: see the reasons above.")
    return None

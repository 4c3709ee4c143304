"""What may be built.

A `_target_` may name vae_lab's own classes, torch's optimisers and schedules, Lightning's
trainer, loggers, callbacks, strategies and profilers, and any class of a package that the
environment variable VAE_LAB_TRUST names: nothing else, above all not from a checkpoint.
"""

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pkgutil import resolve_name
from typing import Any, get_origin

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from omegaconf import OmegaConf
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lab.arguments import PART, checked, described, required
from vae_lab.config.compose import HYDRA, choices
from vae_lab.config.settings import kinds
from vae_lab.data import DataSettings
from vae_lab.errors import InputError, one_line, unknown

_ALLOWED: dict[str, tuple[type, ...]] = {
    "vae_lab": (object,),
    "torch.optim": (Optimizer, LRScheduler),
    "lightning.pytorch": (Trainer, Logger, Callback, Profiler, Strategy),
}

_PARTS = (
    "model", "data", "estimator", "objective", "optimizer", "scheduler", "trainer", "logger",
    "early_stopping", "ema", "gradient_skip", "profiler",
)  # fmt: skip
"""Keys under which the train command has a part, or nothing."""

_NEVER_YOURS = {*sys.stdlib_module_names, "hydra", "lightning", "numpy", "omegaconf", "torch"}
"""Packages that nobody should be told to trust: they run whatever they are given."""


def trusted() -> tuple[str, ...]:
    """The packages that the user trusts; a variable, so that every process of a group reads it."""
    names = os.environ.get("VAE_LAB_TRUST", "").split(",")
    return tuple(name.strip() for name in names if name.strip())


def locate(target: str, packages: tuple[str, ...] = tuple(_ALLOWED)) -> type:
    """The class a `_target_` names.

    Args:
        target: A dotted path, such as "vae_lab.model.VAE".
        packages: Those of vae_lab, torch and Lightning that it may come from, besides the packages
            that VAE_LAB_TRUST names.

    Raises:
        InputError: For code outside what may be built, or that does not exist.
    """
    if "." not in str(target):
        raise InputError(
            f"_target_ must be the dotted path of a class, such as torch.optim.Adam, not "
            f"{'null' if target is None else target}."
        )
    packages = (*packages, *trusted())
    package = next((p for p in packages if str(target).startswith(f"{p}.")), None)
    if package is None:
        own = str(target).partition(".")[0]
        fix = f" If the code of {own} is yours, or you trust it, say VAE_LAB_TRUST={own}."
        raise InputError(
            f"_target_ {target} may not be built: only classes of {', '.join(packages)} may."
            f"{'' if own in _NEVER_YOURS else fix}"
        )
    try:
        found = resolve_name(target)  # Hydra's own logs an error besides raising it
    except Exception as error:
        raise InputError(f"_target_ {target} does not exist ({one_line(error)}).") from error
    home = getattr(found, "__module__", "")
    if not inspect.isclass(found) or not f"{home}.".startswith(f"{package}."):
        raise InputError(f"_target_ {target} is not a class of {package}.")
    if not issubclass(found, _ALLOWED.get(package, (object,))):
        raise InputError(f"_target_ {target} is not a part that may be built.")
    return found


def whitelist(option: str) -> dict[str, Any]:
    """All packages, as an option of Hydra's functions that 1.4 wants to be given and 1.3 lacks."""
    names = [f"{package}.*" for package in (*_ALLOWED, *trusted())]
    return {option: names} if HYDRA >= (1, 4) else {}


def check_parts(
    cfg: Any,
    path: str = "",
    packages: tuple[str, ...] = tuple(_ALLOWED),
    complete: bool = True,
    late: bool = False,
) -> Any:
    """Check every part's class, and its arguments' names and values, before any is built.

    Args:
        cfg: A configuration, or a part of one.
        path: Where in the whole configuration it stands.
        packages: As for `locate`.
        complete: Whether all is filled in; if not, any value may be null for now.
        late: Whether it must be a partial, since others know the rest of its arguments.

    Returns:
        The same, plain, each argument as its annotation has it.

    Raises:
        InputError: For code outside what may be built, for a misspelt argument, listing what
            exists (Hydra alone finds one of a partial only when that is called), for one that is
            missing, and for a value that the argument may not have.
    """
    node: Any = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
    if isinstance(node, dict):
        known = _arguments_of(node, path, packages, late) if "_target_" in node else {}
        return {
            key: _checked(
                f"{path}.{key}" if path else str(key), value, known.get(key), packages, complete
            )
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [check_parts(v, f"{path}.{at}", packages, complete) for at, v in enumerate(node)]
    return node


def _arguments_of(
    node: Mapping[Any, Any], where: str, packages: tuple[str, ...], late: bool
) -> Mapping[str, Any]:
    part = locate(node["_target_"], packages)
    parts = [part, DataSettings] if where == "data" else [part]
    known = {name: kind for each in parts for name, kind in kinds(each).items()}
    for key in node:
        if key in ("_args_", "_recursive_", "_convert_") or (
            not str(key).startswith("_") and key not in known
        ):
            raise unknown(f"argument of {where} ({part.__name__})", str(key), known)
    if node.get("_partial_"):
        return known
    if late:
        raise InputError(f"{where} is built late: its YAML needs `_partial_: true`.")
    for name in (name for each in parts for name in required(each)):
        if name not in node:
            raise InputError(f"{where} ({part.__name__}) lacks {name}: say +{where}.{name}=...")
    return known


def _checked(key: str, value: Any, kind: Any, packages: tuple[str, ...], complete: bool) -> Any:
    late = get_origin(kind) in (Callable, partial) or key in ("objective", "optimizer", "scheduler")
    found = check_parts(value, key, packages, complete, late)
    if key in _PARTS or key.rpartition(".")[0] == "callbacks":
        if value and not (isinstance(value, dict) and "_target_" in value):
            raise _no_part(key, value)
        return found
    if kind is None or _holds_part(value):
        return found
    if value is None and not complete and described(kind) != PART:
        return found
    if described(kind) == PART and _choices(key):
        raise _no_part(key, value)
    return checked(key, found, kind)


def _no_part(key: str, value: Any) -> InputError:
    """What to say where a part should be."""
    names, group = _choices(key), key.replace(".", "/")
    say = f". Say {group}={' or '.join(names)}." if names else f", with a _target_, not {value}."
    return InputError(f"{key} must be a part{say}")


def _choices(key: str) -> list[str]:
    """The parts that a key may have, from the command line's folders of YAML."""
    hidden = {"none"} if "." not in key else set()  # which is no part
    return sorted({*choices(key.replace(".", "/"), sys.argv[1:])} - hidden)


def _holds_part(node: Any) -> bool:
    if isinstance(node, dict):
        return "_target_" in node or any(map(_holds_part, node.values()))
    return isinstance(node, list | tuple) and any(map(_holds_part, node))

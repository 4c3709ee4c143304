"""What may be built.

A `_target_` may name vae_lab's own classes, torch's optimisers and schedules, Lightning's
trainer, loggers, callbacks, strategies and profilers, and any class of a package that the
environment variable VAE_LAB_TRUST names: nothing else, above all not from a checkpoint.
"""

import inspect
import os
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import Any

import hydra
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lab.data import DataSettings
from vae_lab.errors import InputError, one_line, unknown

_ALLOWED: dict[str, tuple[type, ...]] = {
    "vae_lab": (object,),
    "torch.optim": (Optimizer, LRScheduler),
    "lightning.pytorch": (Trainer, Logger, Callback, Profiler, Strategy),
}


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
    packages = (*packages, *trusted())
    package = next((p for p in packages if str(target).startswith(f"{p}.")), None)
    if package is None:
        own = str(target).partition(".")[0]
        raise InputError(
            f"_target_ {target} may not be built: only classes of {', '.join(packages)} may. If "
            f"the code of {own} is yours, or you trust it, say VAE_LAB_TRUST={own} to trust it."
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
    return {option: names} if hydra.__version__ >= "1.4" else {}


def check_parts(cfg: Any, path: str = "", packages: tuple[str, ...] = tuple(_ALLOWED)) -> None:
    """Check every part's class and the names of its arguments, before any is built.

    Args:
        cfg: A configuration, or a part of one.
        path: Where in the whole configuration it stands.
        packages: As for `locate`.

    Raises:
        InputError: For code outside what may be built, and for a misspelt argument, listing what
            exists: Hydra alone finds one of a partial only when that is called.
    """
    for where, node in _parts(cfg, path):
        part = locate(node["_target_"], packages)
        known = _arguments(part)
        if where == "data":
            known |= _arguments(DataSettings)
        for key in node:
            if key in ("_args_", "_recursive_", "_convert_") or (
                not str(key).startswith("_") and key not in known
            ):
                raise unknown(f"argument of {where} ({part.__name__})", str(key), known)


def _parts(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, DictConfig | ListConfig):
        node = OmegaConf.to_container(node, resolve=True)
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from _parts(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for at, value in enumerate(node):
            yield from _parts(value, f"{path}.{at}")


def _arguments(part: type) -> set[str]:
    return set(inspect.signature(part).parameters)

"""From configuration to objects, and from a checkpoint back to a model.

The only place that instantiates. A `_target_` may name vae_lab's own classes, torch's optimisers
and schedules, and Lightning's trainer, loggers, callbacks, strategies and profilers: nothing else,
above all not from a checkpoint.
"""

import inspect
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError, unknown
from vae_lab.families import Likelihood
from vae_lab.models import LatentVariableModel
from vae_lab.training import Training

FORMAT = 1
"""Of the record in a checkpoint; raised when an older reader could not read it."""

_ALLOWED: dict[str, tuple[type, ...]] = {
    "vae_lab": (object,),
    "torch.optim": (Optimizer, LRScheduler),
    "lightning.pytorch": (Trainer, Logger, Callback, Profiler, Strategy),
}


def locate(target: str, packages: tuple[str, ...] = tuple(_ALLOWED)) -> type:
    """The class a `_target_` names. Raises InputError for code outside what may be built."""
    package = next((p for p in packages if str(target).startswith(p + ".")), None)
    if package is None:
        raise InputError(
            f"_target_ {target} may not be built: only classes of {', '.join(packages)} may."
        )
    try:
        found = get_object(target)
    except Exception as error:
        raise InputError(f"_target_ {target} does not exist.") from error
    home = getattr(found, "__module__", "")
    if not inspect.isclass(found) or not f"{home}.".startswith(f"{package}."):
        raise InputError(f"_target_ {target} is not a class of {package}.")
    if not issubclass(found, _ALLOWED[package]):
        raise InputError(f"_target_ {target} is not a part that may be built.")
    return found


def check_parts(cfg: Any, path: str = "", packages: tuple[str, ...] = tuple(_ALLOWED)) -> None:
    """Check every part's class and the names of its arguments, before any is built.

    Raises InputError for code outside what may be built, and for a misspelt argument, listing what
    exists: Hydra alone finds one of a partial only when that is called.
    """
    for where, node in _parts(cfg, path):
        part = locate(node["_target_"], packages)
        known = _arguments(part)
        if where == "data":
            known |= _arguments(ImageDataModule) - {"source", "support", "seed"}
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
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from _parts(value, f"{path}.{at}")


def _arguments(part: type) -> set[str]:
    return set(inspect.signature(part).parameters)


def part(cfg: Any, where: str, **arguments: Any) -> Any:
    """Instantiate one subtree of the configuration. Raises InputError, with the reason."""
    try:
        return instantiate(cfg, **arguments, _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if isinstance(cause, InputError):
            raise InputError(str(cause)) from error
        raise InputError(f"{where} cannot be built: {_one_line(cause)}") from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def data(cfg: DictConfig) -> ImageDataModule:
    """The DataModule, not yet set up. Its YAML is flat: what the source takes goes to it."""
    settings = OmegaConf.to_container(cfg.data, resolve=True)
    assert isinstance(settings, dict)
    source = locate(settings.pop("_target_"))
    likelihood = locate(cfg.model.likelihood["_target_"])
    assert issubclass(likelihood, Likelihood)
    own = {str(key): settings.pop(key) for key in _arguments(source) if key in settings}
    try:
        return ImageDataModule(
            source=source(**own),
            support=likelihood.support,
            seed=cfg.seed,
            **{str(key): value for key, value in settings.items()},
        )
    except TypeError as error:
        raise InputError(f"data cannot be built: {_one_line(error)}") from error


def model(cfg: Any) -> LatentVariableModel:
    """The model of a resolved `model` subtree."""
    check_parts(cfg, "model", packages=("vae_lab",))
    built = part(cfg, "model")
    assert isinstance(built, LatentVariableModel)
    return built


def training(cfg: DictConfig, datamodule: ImageDataModule, record: dict[str, Any]) -> Training:
    """The LightningModule, for data that are set up."""
    built = Training(
        model=model(cfg.model),
        objective=part(cfg.objective, "objective"),
        estimator=part(cfg.estimator, "estimator"),
        optimizer=part(cfg.optimizer, "optimizer"),
        scheduler=part(cfg.scheduler, "scheduler") if cfg.scheduler else None,
        seed=cfg.seed,
        dequantized=datamodule.preparation.dequantize,
        record=record,
    )
    try:  # partials show what they think of their arguments only when they are called
        optimizer = built.optimizer(built.parameters())
        if built.scheduler is not None:
            built.scheduler(optimizer)
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer or scheduler cannot be built: {_one_line(error)}") from error
    return built


def trainer(cfg: DictConfig, has_val: bool, loggers: list[Logger]) -> Trainer:
    """Lightning's Trainer with its callbacks; without validation data, none that select on it."""
    nodes = {**cfg.callbacks}
    if cfg.early_stopping:
        nodes["early_stopping"] = cfg.early_stopping
    if not has_val:
        nodes.pop("best", None)
        if "early_stopping" in nodes:
            raise InputError("early stopping needs validation data: set data.val_size above 0.")
    callbacks = [part(node, f"callbacks.{name}") for name, node in nodes.items() if node]
    built = part(
        cfg.trainer,
        "trainer",
        callbacks=callbacks,
        logger=loggers,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        **({} if has_val else {"limit_val_batches": 0}),
    )
    assert isinstance(built, Trainer)
    return built


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of this project; no code in it is run. Raises InputError for any other."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is cut short or no checkpoint ({_one_line(error)[:80]}): choose another, such "
            "as last.ckpt beside it."
        ) from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is cut short, or holds more than weights and plain values: it is not loaded."
        ) from error
    record = content.get("vae_lab") if isinstance(content, dict) else None
    if not isinstance(record, dict) or not isinstance(content.get("state_dict"), dict):
        raise InputError(f"{path} was not made by vae-lab: it holds no configuration to rebuild.")
    if record.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {record.get('format')}, this vae-lab reads {FORMAT}: use the "
            "version that wrote it."
        )
    return content


def model_from_checkpoint(path: Path, content: dict[str, Any]) -> LatentVariableModel:
    """The trained model, in eval mode. Raises InputError for weights of another model."""
    rebuilt = model(content["vae_lab"]["config"]["model"])
    prefix = "model."
    weights = {
        k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)
    }
    try:
        rebuilt.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the weights in {path} are of another model than its configuration: {_one_line(error)}"
        ) from error
    return rebuilt.eval()


def checkpoint_path(run: str | Path) -> Path:
    """The checkpoint of a run folder (best, else last), or the file itself.

    Raises InputError where there is none.
    """
    path = Path(run)
    if path.is_file():
        return path
    for name in ("best.ckpt", "last.ckpt"):
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    raise InputError(
        f"no checkpoint at {path}: give a run folder, with checkpoints/best.ckpt or last.ckpt in "
        "it, or a checkpoint file."
    )

"""How a run goes on: which one, with what, and where none may."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae_lab.arguments import Text, checked
from vae_lab.config.complete import digest
from vae_lab.config.restore import check_weights
from vae_lab.config.settings import TrainSettings
from vae_lab.errors import InputError
from vae_lab.storage.checkpoint import read_checkpoint
from vae_lab.storage.run_folder import RunFolder, runs_below

_LENGTH = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time")
_MAY_CHANGE = (*_LENGTH, "data.root", "data.path")
"""What may be said anew where a run goes on: how long, and where the same data lie now."""

_TRAINING = ("optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step")
"""What Lightning needs of a checkpoint besides weights; of ours it has the record's `ranks`."""


def resumed(wanted: str, overrides: Sequence[str]) -> tuple[DictConfig, RunFolder]:
    """The configuration and folder of the run to continue.

    Args:
        wanted: "latest", or a run folder.
        overrides: The command line's, Hydra's own too; they may lengthen the run.

    Raises:
        InputError: For a run that is not there, has finished, is in use, or would become another.
    """
    wanted = checked("resume", wanted, Text)  # a folder may be called 5
    folder = _latest() if wanted == "latest" else RunFolder(wanted)
    stored = folder.config()
    if stored is None:
        raise _without_config(folder)
    if lacks := [key for key in TrainSettings.__annotations__ if key not in stored]:
        raise InputError(
            f"{folder} was made by an earlier vae-lab: it lacks {', '.join(lacks)}. Say "
            f"init_from={folder} for a new run from its weights."
        )
    for override in overrides:
        key, _, place = override.partition("=")
        if key.lstrip("+") == "hydra.run.dir" and RunFolder(place.strip("'\"")).path != folder.path:
            raise InputError(f"a resumed run stays where it is, in {folder}: drop {override}.")
    changes = [o.lstrip("+") for o in overrides if not o.startswith(("resume=", "hydra."))]
    for change in changes:
        if change.partition("=")[0] not in _MAY_CHANGE:
            raise InputError(
                f"a resumed run stays what it was: drop {change}. Only {', '.join(_MAY_CHANGE)} "
                f"may change; init_from={folder} starts a new run from its weights."
            )
    if folder.result() is not None and not changes:
        raise InputError(
            f"{folder} has finished: say trainer.max_epochs=... to train it longer, or "
            f"init_from={folder} for a new run from its weights."
        )
    cfg = OmegaConf.merge(stored, OmegaConf.from_dotlist(changes))
    assert isinstance(cfg, DictConfig)
    return cfg, folder


def check_folder(cfg: DictConfig, folder: RunFolder) -> None:
    """Raise InputError where `folder` holds another run than `cfg`, or this one, finished."""
    stored = folder.config()
    if stored is None:
        if folder.has_checkpoints:
            raise _without_config(folder)
        folder.failure()  # one of ours may be replaced
        if folder.strangers:
            raise InputError(
                f"{folder} holds files that are no run's ({', '.join(folder.strangers)}): set "
                "hydra.run.dir to a new folder."
            )
        return
    if stored["config_digest"] != digest(cfg):
        raise InputError(f"{folder} holds another run already: set hydra.run.dir to a new folder.")
    if folder.result() is not None and _length(OmegaConf.create(stored)) == _length(cfg):
        raise InputError(
            f"{folder} holds this run already, finished: say a larger trainer.max_epochs to train "
            "it longer, or set hydra.run.dir to another."
        )


def check_goes_on(stored: Mapping[str, Any] | None, path: Path, content: dict[str, Any]) -> None:
    """Raise InputError unless training can go on from a checkpoint.

    Args:
        stored: The run's config.yaml, which the checkpoint must have been made with.
        path: The checkpoint.
        content: What is in it.
    """
    record = content["vae_lab"]
    lacks = [key for key in _TRAINING if key not in content]
    lacks += [key for key in ("ranks", "seconds", "metrics") if key not in record]
    if lacks:
        raise InputError(
            f"{path} holds no training to go on with (no {', '.join(lacks)}): say init_from={path} "
            "for a new run from its weights."
        )
    ours, theirs = (dict(_values(config)) for config in (stored or {}, record["config"]))
    keys = [key for key in {**ours, **theirs} if key not in _MAY_CHANGE]
    other = [key for key in keys if repr(ours.get(key)) != repr(theirs.get(key))]
    if other:
        said = "; ".join(f"{key} {ours.get(key)}, not {theirs.get(key)}" for key in other[:3])
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        raise InputError(
            f"{path} was made with another configuration than config.yaml, which says {said}"
            f"{more}: restore it, or say init_from={path} for a new run from these weights."
        )
    check_weights(path, content)


def check_best(folder: RunFolder) -> None:
    """Raise InputError where `folder` has a best.ckpt, which the run's test needs, of no use."""
    path = folder.path / "checkpoints" / "best.ckpt"
    try:
        if path.is_file():
            read_checkpoint(path)
    except InputError as error:
        raise InputError(
            f"{path} cannot be used: remove it to go on from last.ckpt; the best of the epochs to "
            "come takes its place."
        ) from error


def _values(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _values(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _without_config(folder: RunFolder) -> InputError:
    if folder.has_checkpoints:
        return InputError(
            f"{folder} has checkpoints, but no config.yaml to know their run by: say init_from="
            f"{folder} for a new run from its weights, in a new folder."
        )
    return InputError(f"no run at {folder}: give resume= a run folder, with config.yaml in it.")


def _length(cfg: DictConfig) -> list[Any]:
    return [OmegaConf.select(cfg, key) for key in _LENGTH]


def _latest(runs: Path = Path("runs")) -> RunFolder:
    """The unfinished run that was begun last, and that nobody trains."""
    begun = sorted(runs_below(runs), key=lambda run: (run.path / "config.yaml").stat().st_mtime)
    for folder in reversed(begun):
        if not folder.is_finished and not folder.is_held:
            return folder
    raise InputError(
        f"nothing to resume: {runs.resolve()} holds no unfinished run. Say resume=<run folder>."
    )

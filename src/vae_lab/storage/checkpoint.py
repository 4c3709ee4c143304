"""Checkpoints and exported weights, read without running code from them."""

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from vae_lab.errors import InputError, one_line, require

FORMAT = 2
"""Of the record in a checkpoint; raised when an older reader could not read it."""


def checkpoint_path(run: str | os.PathLike[str]) -> Path:
    """The checkpoint of a run folder (best, else last), a folder's exported weights, or the file.

    Raises InputError where there is none.
    """
    path = Path(run)
    if path.is_file():
        return path
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "model.safetensors"):
        if (path / name).is_file():
            return path / name
    raise InputError(
        f"no checkpoint at {path}: give a run folder, with checkpoints/best.ckpt or last.ckpt in "
        "it, or a checkpoint file."
    )


def run_folder(path: Path) -> Path:
    """The run folder a checkpoint lies in; of one that lies elsewhere, the folder around it."""
    return path.parents[1] if path.parent.name == "checkpoints" else path.parent


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint or exported weights of this project; no code in it is run.

    Raises InputError for any other file.
    """
    content = _read_exported(path) if path.suffix == ".safetensors" else _read_pickled(path)
    record = content.get("vae_lab") if isinstance(content, dict) else None
    if not isinstance(record, dict) or not isinstance(content.get("state_dict"), dict):
        raise InputError(f"{path} was not made by vae-lab: it holds no configuration to rebuild.")
    if record.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {record.get('format')}, this vae-lab reads {FORMAT}: use the "
            "version that wrote it."
        )
    needed = ("config", "data", "measure", "commit", "parameters")
    lacks = [name for name in needed if name not in record]
    if lacks or not isinstance(content.get("epoch"), int) or not isinstance(record["config"], dict):
        raise InputError(f"{path} is incomplete ({', '.join(lacks) or 'epoch'}): it is not loaded.")
    if "${" in repr(record["config"]):
        raise InputError(f"{path} has interpolations in its configuration: it is not loaded.")
    return content


def _read_pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is cut short or no checkpoint ({one_line(error)[:80]}): choose another, such "
            "as last.ckpt beside it."
        ) from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is cut short, or holds more than weights and plain values: it is not loaded."
        ) from error


def _read_exported(path: Path) -> Any:
    """What export wrote, as a checkpoint holds it."""
    require("export", "safetensors")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            weights = {f"model.{name}": file.get_tensor(name) for name in file.keys()}
            record = json.loads((file.metadata() or {}).get("vae_lab", "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is cut short or holds no weights ({one_line(error)[:80]}): export them anew."
        ) from error
    epoch = record.get("epoch") if isinstance(record, dict) else None
    return {"state_dict": weights, "vae_lab": record, "epoch": epoch}

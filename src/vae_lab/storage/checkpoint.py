"""Checkpoints and exported weights, read without running code from them."""

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_lab.errors import InputError, explained, one_line, require
from vae_lab.storage.files import check_zip
from vae_lab.storage.run_config import relocated

FORMAT = 2
"""Of the record in a checkpoint; raised when an older reader could not read it."""

_RECORD = {"config": dict, "data": dict, "measure": dict, "commit": str, "parameters": int}
"""What a checkpoint's record has at least."""


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

    Raises InputError for any other file, for one that has changed since it was written, be it by a
    single byte, and for weights that are NaN.
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
    lacks = [name for name, kind in _RECORD.items() if not isinstance(record.get(name), kind)]
    lacks += [name for name in ("binarize", "dequantize") if name not in record.get("data", ())]
    if lacks or not isinstance(content.get("epoch"), int):
        raise InputError(f"{path} is incomplete ({', '.join(lacks) or 'epoch'}): it is not loaded.")
    if "${" in repr(record["config"]):
        raise InputError(f"{path} has interpolations in its configuration: it is not loaded.")
    for part in ("state_dict", "optimizer_states", "current_model_state"):
        if _has_nan(content.get(part)):
            raise InputError(f"{path} has NaN in its {part}: choose another, of an earlier step.")
    if path.parent.name == "checkpoints":
        record["config"] = relocated(record["config"], run_folder(path).resolve())
    return content


def _has_nan(node: Any) -> bool:
    if isinstance(node, torch.Tensor):
        return node.is_floating_point() and bool(node.isnan().any())
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return any(map(_has_nan, inner))


def read_tensors(path: Path) -> Any:
    """What torch.save wrote, on the CPU. No code in it is run; whatever is wrong raises."""
    check_zip(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_pickled(path: Path) -> Any:
    def refused(error: Exception) -> InputError:
        if isinstance(error, pickle.UnpicklingError):
            return InputError(f"{path} holds more than weights and plain values: it is not loaded.")
        last = path.with_name("last.ckpt")
        other = last if path.name == "best.ckpt" and last.is_file() else "another, or a run folder."
        return InputError(
            f"{path} is cut short, damaged or no checkpoint ({one_line(error)[:80]}): choose "
            f"{other}"
        )

    with explained(refused):
        return read_tensors(path)


def sealed(weights: dict[str, Tensor], record: str) -> bytes:
    """A .safetensors file of weights and their record, in JSON, with a sum over both."""
    from safetensors.torch import save

    seal = _seal(weights, record)
    return save(weights, {"format": "pt", "vae_lab": record, "sha256": seal})


def _seal(weights: dict[str, Tensor], record: str) -> str:
    from safetensors.torch import save

    return hashlib.sha256(save(weights, {"vae_lab": record})).hexdigest()


def _read_exported(path: Path) -> Any:
    """What export wrote, as a checkpoint holds it."""
    require("export", "safetensors")
    from safetensors import safe_open

    def refused(error: Exception) -> InputError:
        return InputError(
            f"{path} is cut short, damaged or holds no weights of vae-lab's export "
            f"({one_line(error)[:80]}): export them anew."
        )

    with explained(refused):
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
        text = metadata.get("vae_lab", "null")
        if metadata.get("sha256", seal := _seal(weights, text)) != seal:
            raise ValueError("a wrong sum")
        record = json.loads(text)
    epoch = record.get("epoch") if isinstance(record, dict) else None
    named = {f"model.{name}": value for name, value in weights.items()}
    return {"state_dict": named, "vae_lab": record, "epoch": epoch}

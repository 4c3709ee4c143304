"""From a checkpoint's record back to a model."""

from pathlib import Path
from typing import Any

from vae_lab.config import build
from vae_lab.errors import InputError, one_line
from vae_lab.model import LatentVariableModel
from vae_lab.storage.checkpoint import checkpoint_path, read_checkpoint


def model_from_checkpoint(path: Path, content: dict[str, Any]) -> LatentVariableModel:
    """The trained model, in eval mode. Raises InputError for weights of another model."""
    rebuilt = build.model(content["vae_lab"]["config"].get("model"))
    _load(rebuilt, path, content, "its configuration")
    return rebuilt.eval()


def load_weights(model: LatentVariableModel, run: str) -> None:
    """Give `model` the weights of a run (see `checkpoint_path`).

    Raises InputError where there are none, or they are of another model.
    """
    path = checkpoint_path(run)
    _load(model, path, read_checkpoint(path), "the one being trained: choose the same model")


def _load(model: LatentVariableModel, path: Path, content: dict[str, Any], other: str) -> None:
    prefix = "model."
    weights = {
        k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the weights in {path} are of another model than {other} ({one_line(error)})"
        ) from error

"""From a checkpoint's record back to a model and its data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from vae_lab.config import build
from vae_lab.config.allowed import check_parts
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError, explained
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.model.context import Context
from vae_lab.model.priors.standardized import Standardized
from vae_lab.objectives import Objective
from vae_lab.storage.checkpoint import checkpoint_path, read_checkpoint, run_folder
from vae_lab.storage.prior_file import digest_of, prior_path, read_prior


def model_from_checkpoint(path: Path, content: dict[str, Any]) -> LatentVariableModel:
    """The trained model, in eval mode. Raises InputError for weights of another model."""
    check_weights(path, content)
    rebuilt = build.model(content["vae_lab"]["config"].get("model"))
    _load(rebuilt, path, content, "its configuration")
    return rebuilt.eval()


def objective_from_checkpoint(path: Path, context: Context) -> Objective:
    """The objective that a model was trained by, with what it has learned itself.

    Raises InputError for weights that were exported without that.
    """
    content, prefix = read_checkpoint(path), "objective."
    kind = build.instance(content["vae_lab"]["config"]["objective"], "objective")
    built: Objective = kind(context)
    own = {
        k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)
    }
    with explained(
        lambda error: InputError(
            f"{path} has not what its objective has learned, as exported weights have not: give "
            "the run folder."
        )
    ):
        built.load_state_dict(own)
    return built


def prior_beside(path: Path, model: LatentVariableModel) -> Standardized | None:
    """The prior that was fitted to this checkpoint's model afterwards; None where none was.

    Raises InputError for one that is damaged, or was fitted to other weights.
    """
    place = prior_path(run_folder(path))
    if not place.exists() or not isinstance(model, VAE):
        return None
    content = read_prior(place, digest_of(model.state_dict()))
    context = Context(model.x_shape, model.num_classes, model.z_shape, posterior=model.posterior)
    built = build.prior(content["prior"], context)
    with explained(lambda error: InputError(f"{place} is of another prior: fit it anew.")):
        built.load_state_dict(content["state_dict"])
    finite = all(bool(value.isfinite().all()) for value in built.state_dict().values())
    if not finite or not bool((built.scale > 0).all()):
        raise InputError(
            f"{place} has weights that are no numbers, or a scale of 0: fit it anew (vae-lab "
            "fit_prior), or remove it."
        )
    return built.to(next(model.parameters()).device).requires_grad_(False).eval()


def data_from_config(config: Mapping[str, Any]) -> ImageDataModule:
    """The data that a run's recorded configuration describes. Raises InputError without them."""
    cfg = OmegaConf.create({**config})
    check_parts(cfg.data, "data", packages=("vae_lab",))
    return build.data(cfg)


def check_weights(path: Path, content: dict[str, Any]) -> None:
    """Raise InputError where weights are of another model than their own configuration describes.

    That model takes no memory here, so that one that claims to be huge is refused at once.
    """
    try:
        with torch.device("meta"):
            claimed = build.model(content["vae_lab"]["config"].get("model"))
    except InputError:
        return  # a model that cannot be built so; what is wrong with another shows as it is built
    _check_shapes(claimed, path, content, "its configuration")


def load_weights(model: LatentVariableModel, run: str) -> None:
    """Give `model` the weights of a run (see `checkpoint_path`).

    Raises InputError where there are none, or they are of another model.
    """
    path = checkpoint_path(run)
    _load(model, path, read_checkpoint(path), "the one being trained: choose the same model")


def _load(model: LatentVariableModel, path: Path, content: dict[str, Any], other: str) -> None:
    model.load_state_dict(_check_shapes(model, path, content, other))


def _check_shapes(
    model: LatentVariableModel, path: Path, content: dict[str, Any], other: str
) -> dict[str, Tensor]:
    """The model's weights in a checkpoint. Raises InputError where they are of another model."""
    prefix = "model."
    weights = {
        k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)
    }
    wanted, found = _shapes(model.state_dict()), _shapes(weights)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise InputError(
                f"the weights in {path} are of another model than {other} ({name}: "
                f"{found.get(name, 'none')} there, {wanted.get(name, 'none')} here)"
            )
    return weights


def _shapes(weights: Mapping[str, Any]) -> dict[str, tuple[int, ...] | None]:
    return {k: tuple(v.shape) if isinstance(v, Tensor) else None for k, v in weights.items()}

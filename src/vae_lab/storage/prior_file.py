"""prior.ckpt: a prior that was fitted to the codes of a model afterwards, beside its run."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_lab.errors import InputError, explained, one_line
from vae_lab.storage.checkpoint import read_tensors
from vae_lab.storage.files import atomic_file

PRIOR_FORMAT = 1
"""Of the file; raised when an older reader could not read it."""

_HOLDS = {"prior": dict, "state_dict": dict, "weights": str}


def prior_path(folder: Path) -> Path:
    """Where the prior fitted to the run in `folder` lies, if there is one."""
    return folder / "prior.ckpt"


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """A digest of a model's weights, by which a prior knows those it was fitted to."""
    sum_of = hashlib.sha256()
    for name in sorted(weights):
        plain = weights[name].detach().cpu().contiguous().flatten()
        sum_of.update(name.encode() + plain.view(torch.uint8).numpy().tobytes())
    return sum_of.hexdigest()


def write_prior(path: Path, content: Mapping[str, Any]) -> None:
    """Write the file whole: plain values and tensors, on the CPU."""
    with atomic_file(path) as part:
        torch.save({"format": PRIOR_FORMAT, **content}, part)


def read_prior(path: Path, weights: str) -> dict[str, Any]:
    """What `write_prior` wrote; no code in it is run.

    Args:
        path: The file.
        weights: The digest of the model that it is to be for.

    Raises:
        InputError: For any other file, a damaged one, and a prior fitted to other weights.
    """
    fix = "fit it anew (vae-lab fit_prior), or remove it"
    with explained(lambda error: InputError(f"{path} is damaged ({one_line(error)[:80]}): {fix}.")):
        content = read_tensors(path)
        if not isinstance(content, dict) or content.get("format") != PRIOR_FORMAT:
            raise InputError(f"{path} is no prior of this vae-lab's format {PRIOR_FORMAT}: {fix}.")
        lacks = [name for name, kind in _HOLDS.items() if not isinstance(content.get(name), kind)]
        if lacks:
            raise InputError(f"{path} is incomplete ({', '.join(lacks)}): {fix}.")
    if content["weights"] != weights:
        raise InputError(
            f"{path} was fitted to other weights than these: {fix}; or sample with fitted=False."
        )
    return content

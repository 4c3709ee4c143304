"""What goes with every number: where it came from."""

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

_REPOSITORY = Path(__file__).parents[3]


def commit(*packages: str) -> str:
    """The commit of this code, "-dirty" where files differ from it or are new to git.

    It is "unknown" outside a checkout. Those of `packages` that are in use and lie elsewhere follow
    with theirs: "0123456789ab, my_package cdef01234567-dirty".
    """
    told = [_commit_of(_REPOSITORY) if (_REPOSITORY / ".git").exists() else "unknown"]
    for name in packages:
        spec = sys.modules[name].__spec__ if name in sys.modules else None
        places = (spec.submodule_search_locations or [str(spec.origin)]) if spec else []
        for place in (Path(place).resolve() for place in places):
            if not place.is_relative_to(_REPOSITORY):
                told.append(f"{name} {_commit_of(place if place.is_dir() else place.parent)}")
    return ", ".join(told)


def _commit_of(folder: Path) -> str:
    # Unlike `git describe --dirty`, this sees a file that is not added yet: a new part, say.
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch"]
    try:
        status = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    head, *others = status.stdout.splitlines()  # "# branch.oid ..." and more of "#", then files
    dirty = any(not line.startswith("#") for line in others)
    return head.split()[-1][:12] + "-dirty" * dirty


def device_name(device: torch.device) -> str:
    """The device in words, such as the GPU's name or the processor's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def num_parameters(module: nn.Module) -> int:
    """How many values are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def versions() -> dict[str, Any]:
    """Of Python and of the packages that numbers depend on."""
    packages = {name: version(name) for name in ("torch", "lightning", "hydra-core")}
    return {"python": platform.python_version(), **packages}

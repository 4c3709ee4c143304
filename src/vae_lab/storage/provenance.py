"""What goes with every number: where it came from."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

_REPOSITORY = Path(__file__).parents[3]


def commit() -> str:
    """The commit of this code, "-dirty" where files differ; "unknown" outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=_REPOSITORY, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


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

"""vae-lab: variational autoencoders, composed. Bounds in nats, per datum."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_lab.commands.fit_prior import fit_prior
    from vae_lab.commands.train import train
    from vae_lab.errors import InputError
    from vae_lab.experiment.run import Run
    from vae_lab.trained import TrainedVAE, load

__all__ = ["InputError", "Run", "TrainedVAE", "fit_prior", "load", "train"]
_HOMES = {
    "InputError": "errors", "Run": "experiment.run", "TrainedVAE": "trained", "load": "trained",
    "fit_prior": "commands.fit_prior", "train": "commands.train",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a name's home when it is asked for: importing torch takes seconds, `--help` none."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vae_lab' has no attribute '{name}'")
    return getattr(import_module(f"vae_lab.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

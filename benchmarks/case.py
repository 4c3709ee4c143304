"""What every contestant of a contest has to do."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Case:
    """Train a VAE of so many units for a few epochs, score images under one, or only start.

    The loss of a training is that of tutorials for all: cross-entropy on grey pixels plus the KL,
    nats per image.
    """

    model: str  # of `models.MODELS`; "digits" where only the start counts
    images: int  # of the training set
    batch: int = 64
    units: int | None = None  # of z; None: as many as the model has
    draws: int = 1  # K of the importance-weighted bound; 1 is the ELBO
    precision: Literal["fp32", "bf16"] = "fp32"
    epochs: int = 3  # the first is not counted
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError where no epoch would be counted."""
        if self.epochs < 2:
            raise ValueError("epochs must be 2 or more: the first is not counted.")

    def describe(self) -> str:
        """In a few words: model, batch, precision, units and draws where they are said, images.

        >>> Case("mlp", 6400, batch=128, precision="bf16").describe()
        'mlp, batch 128, bf16, 6,400 images'
        """
        units = f"{self.units} units" if self.units is not None else ""
        draws = f"K = {self.draws}" if self.draws > 1 else ""
        said = (self.model, f"batch {self.batch}", self.precision, units, draws)
        return ", ".join(filter(None, [*said, f"{self.images:,} images"]))

    def in_round(self, number: int) -> Self:
        """The same with another seed."""
        return replace(self, seed=number)

    def dumps(self) -> str:
        """As a child process is given it."""
        return json.dumps(asdict(self))


def data_root() -> Path:
    """Where MNIST and CIFAR-10 lie, in torchvision's layout."""
    return Path(os.environ.get("VAE_LAB_DATA", ROOT / "data")).resolve()

"""Sets of images: whole in memory, or read from files as they are asked for."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae_lab.errors import InputError, one_line
from vae_lab.trace import Shape


class ImageSet(Dataset[Any], ABC):
    """N images of one shape, with their labels and what made them, where these are known."""

    labels: Tensor | None  # (N,) int64
    factors: Tensor | None = None  # (N, F), of which the source's `factor_names` tell

    @property
    @abstractmethod
    def x_shape(self) -> Shape:
        """The shape of one image, (C, H, W) or (D,)."""

    @property
    @abstractmethod
    def is_8bit(self) -> bool:
        """Whether pixels are uint8, k of k/255, rather than floats in [0, 1]."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def gather(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pixels (B, *X), uint8 or float, and labels (B,) of these images."""

    @abstractmethod
    def subset(self, index: Tensor) -> ImageSet:
        """These images, in this order."""

    @abstractmethod
    def in_memory(self) -> Images:
        """The same images, whole in memory."""

    @abstractmethod
    def fingerprint(self) -> bytes:
        """A digest that tells these images, in this order, from others."""

    @property
    def nbytes(self) -> int:
        """The memory the pixels take, whole."""
        return len(self) * math.prod(self.x_shape) * (1 if self.is_8bit else 4)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor | None]:
        """A DataLoader's way to fetch a batch at once."""
        return self.gather(torch.tensor(indices))


@dataclass(frozen=True)
class Images(ImageSet):
    """Images whole in memory, on any one device."""

    pixels: Tensor  # (N, *X), uint8 or float32 in [0, 1]
    labels: Tensor | None
    factors: Tensor | None = None

    @property
    def x_shape(self) -> Shape:
        return tuple(self.pixels.shape[1:])

    @property
    def is_8bit(self) -> bool:
        return self.pixels.dtype == torch.uint8

    def __len__(self) -> int:
        return len(self.pixels)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.pixels[index], None if self.labels is None else self.labels[index]

    def subset(self, index: Tensor) -> Images:
        factors = None if self.factors is None else self.factors[index]
        return Images(*self.gather(index), factors)

    def in_memory(self) -> Images:
        return self

    def to(self, device: torch.device) -> Images:
        """The same images on `device`."""
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, pixels=self.pixels.to(device), labels=labels)

    def fingerprint(self) -> bytes:
        digest = hashlib.sha256(self.pixels.contiguous().numpy().tobytes())
        if self.labels is not None:
            digest.update(self.labels.numpy().tobytes())
        return digest.digest()


@dataclass(frozen=True)
class ImageFiles(ImageSet):
    """Some of the images of a dataset of files that yields (uint8 image (C, H, W), label)."""

    dataset: Any
    index: Tensor  # (N,) positions in `dataset`
    shape: Shape
    labels: Tensor | None

    @property
    def x_shape(self) -> Shape:
        return self.shape

    @property
    def is_8bit(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self.index)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        pixels = torch.stack([self._read(int(at)) for at in self.index[index]])
        return pixels, None if self.labels is None else self.labels[index]

    def subset(self, index: Tensor) -> ImageFiles:
        labels = None if self.labels is None else self.labels[index]
        return ImageFiles(self.dataset, self.index[index], self.shape, labels)

    def _read(self, at: int) -> Tensor:
        try:
            return self.dataset[at][0]
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.dataset.samples[at][0]} cannot be read as an image ({one_line(error)}): "
                "mend or remove it."
            ) from error

    def in_memory(self) -> Images:
        return Images(*self.gather(torch.arange(len(self))))

    def fingerprint(self) -> bytes:
        """Of names, sizes and labels: reading every file only to hash it would take too long."""
        digest = hashlib.sha256()
        for at in self.index:
            path, label = self.dataset.samples[int(at)]
            file = Path(path)
            told = (file.relative_to(self.dataset.root).as_posix(), file.stat().st_size, label)
            digest.update(repr(told).encode())
        return digest.digest()


def digest(sets: Iterable[ImageSet]) -> str:
    """Twelve letters that tell these sets of images, in this order, from others."""
    return hashlib.sha256(b"".join(images.fingerprint() for images in sets)).hexdigest()[:12]

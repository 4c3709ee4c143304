"""Image files, read and prepared as they are asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import CenterCrop, Compose, Grayscale, PILToTensor, Resize

from vae_lab.data.images import ImageFiles


class _Files(Dataset[tuple[Tensor, int]]):
    def __init__(self, root: Path, samples: Sequence[tuple[str, int]], prepare: Compose) -> None:
        self.root, self.samples, self.prepare = root, samples, prepare

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        path, label = self.samples[at]
        return self.prepare(_colours(path)), label


def image_files(
    root: Path, samples: Sequence[tuple[str, int]], size: int, channels: Literal[1, 3] = 3
) -> ImageFiles:
    """Image files as (channels, size, size), uint8.

    Args:
        root: A folder that holds them all.
        samples: The path and the label of each.
        size: The side of the square that they are resized and cropped to, in pixels.
        channels: 3 for colour or 1 for grey.
    """
    grey = [Grayscale()] if channels == 1 else []
    dataset = _Files(root, samples, Compose([*grey, *squared(size), PILToTensor()]))
    labels = torch.tensor([label for _, label in samples])
    return ImageFiles(dataset, torch.arange(len(labels)), (channels, size, size), labels)


def squared(size: int) -> list[torch.nn.Module]:
    """Steps that make a square of an image: the shorter side gets this size, the longer is cut."""
    return [Resize(size), CenterCrop(size)]


def _colours(path: str) -> Image.Image:
    """An image of any kind, in 8-bit colour. Raises ValueError where its levels are not known."""
    with Image.open(path) as image:
        if image.mode == "F" or image.mode.startswith("I"):  # Pillow clips these to 0..255
            levels = np.asarray(image)
            if image.mode == "F" or levels.min() < 0 or levels.max() >= 2**16:
                raise ValueError("its grey is neither of 8 nor of 16 bits")
            return Image.fromarray((levels / 257).round().astype("uint8")).convert("RGB")
        return image.convert("RGB")

"""A user's own images, from a folder of image files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import CenterCrop, Compose, Grayscale, PILToTensor, Resize

from vae_lab.arguments import Count, Text
from vae_lab.data.images import ImageFiles
from vae_lab.data.source import Source
from vae_lab.errors import InputError


class _Files(Dataset[tuple[Tensor, int]]):
    """Image files and their labels; read, and prepared, as they are asked for."""

    def __init__(self, root: Path, prepare: Callable[[Image.Image], Tensor]) -> None:
        self.root, self.prepare = root, prepare
        classes = [folder for folder in sorted(root.iterdir()) if _leads_on(folder, root)]
        every = [_images(folder) for folder in classes]
        self.samples = [(str(path), y) for y, paths in enumerate(every) for path in paths]
        for folder, paths in zip(classes, every, strict=True):
            if not paths:
                raise InputError(f"{folder} holds no image file: put some there, or remove it.")
        if not classes:
            raise FileNotFoundError

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        path, label = self.samples[at]
        return self.prepare(_colours(path)), label


def _leads_on(folder: Path, start: Path) -> bool:
    """Whether this is a folder, and no link back to where one comes from."""
    return folder.is_dir() and not start.resolve().is_relative_to(folder.resolve())


def _images(folder: Path) -> list[Path]:
    """The image files below a folder, each folder entered once; pipes and devices are none."""
    found, entered = [], {folder.resolve(), *folder.resolve().parents}
    for place, inner, names in os.walk(folder, followlinks=True):
        paths = [Path(place, name) for name in names if name.lower().endswith(IMG_EXTENSIONS)]
        found += [path for path in paths if path.is_file()]
        for name in list(inner):
            target = Path(place, name).resolve()
            if target in entered:  # a link in a circle, or a second one
                inner.remove(name)
            entered.add(target)
    return sorted(found)


def _colours(path: str) -> Image.Image:
    """An image of any kind, in 8-bit colour. Raises ValueError where its levels are not known."""
    with Image.open(path) as image:
        if image.mode == "F" or image.mode.startswith("I"):  # Pillow clips these to 0..255
            levels = np.asarray(image)
            if image.mode == "F" or levels.min() < 0 or levels.max() >= 2**16:
                raise ValueError("its grey is neither of 8 nor of 16 bits")
            return Image.fromarray((levels / 257).round().astype("uint8")).convert("RGB")
        return image.convert("RGB")


class Folder(Source):
    """Image files, one subfolder a class, resized and cropped to a square; 16 bits become 8.

    Args:
        path: The folder that holds one of image files for each class.
        size: The side of the square, in pixels.
        channels: 3 for colour or 1 for grey.
    """

    name = "folder"

    def __init__(self, path: Text, size: Count, channels: Literal[1, 3] = 3) -> None:
        self.path, self.size, self.channels = Path(path).expanduser(), size, channels

    def read(self) -> tuple[ImageFiles, None]:
        steps = [Resize(self.size), CenterCrop(self.size), PILToTensor()]
        grey = [Grayscale()] if self.channels == 1 else []
        try:
            dataset = _Files(self.path, Compose([*grey, *steps]))
        except OSError as error:
            raise InputError(
                f"{self.path} holds no folder of images per class: set data.path to a folder such "
                "as photos/ with photos/cat/1.png in it."
            ) from error
        shape = (self.channels, self.size, self.size)
        labels = torch.tensor([label for _, label in dataset.samples])
        return ImageFiles(dataset, torch.arange(len(labels)), shape, labels), None

"""A user's own images, from a folder of image files."""

from pathlib import Path
from typing import Literal

import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, Grayscale, PILToTensor, Resize

from vae_lab.arguments import Count, Text
from vae_lab.data.images import ImageFiles
from vae_lab.data.source import Source
from vae_lab.errors import InputError


class Folder(Source):
    """torchvision's ImageFolder, one subfolder a class, resized and cropped to a square.

    Args:
        path: The folder that holds one of image files for each class.
        size: The side of the square, in pixels.
        channels: 3 for colour or 1 for grey.
    """

    name = "folder"

    def __init__(self, path: Text, size: Count, channels: Literal[1, 3] = 3) -> None:
        self.path, self.size, self.channels = Path(path), size, channels

    def read(self) -> tuple[ImageFiles, None]:
        steps = [Resize(self.size), CenterCrop(self.size), PILToTensor()]
        grey = [Grayscale()] if self.channels == 1 else []
        try:
            dataset = ImageFolder(str(self.path), transform=Compose([*grey, *steps]))
        except OSError as error:
            raise InputError(
                f"{self.path} holds no folder of images per class: set data.path to a folder such "
                "as photos/ with photos/cat/1.png in it."
            ) from error
        shape = (self.channels, self.size, self.size)
        index = torch.arange(len(dataset))
        return ImageFiles(dataset, index, shape, torch.tensor(dataset.targets)), None

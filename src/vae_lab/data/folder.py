"""A user's own images, from a folder of image files."""

import os
from pathlib import Path
from typing import Literal

from torchvision.datasets.folder import IMG_EXTENSIONS

from vae_lab.arguments import Count, Text
from vae_lab.data.files import image_files
from vae_lab.data.images import ImageFiles
from vae_lab.data.source import Source
from vae_lab.errors import InputError


def _samples(root: Path) -> list[tuple[str, int]]:
    """The image files of each class, with its number. Raises OSError where there is no class."""
    classes = [folder for folder in sorted(root.iterdir()) if _leads_on(folder, root)]
    every = [_images(folder) for folder in classes]
    for folder, paths in zip(classes, every, strict=True):
        if not paths:
            raise InputError(f"{folder} holds no image file: put some there, or remove it.")
    if not classes:
        raise FileNotFoundError
    return [(str(path), y) for y, paths in enumerate(every) for path in paths]


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
        try:
            samples = _samples(self.path)
        except OSError as error:
            raise InputError(
                f"{self.path} holds no folder of images per class: set data.path to a folder such "
                "as photos/ with photos/cat/1.png in it."
            ) from error
        return image_files(self.path, samples, self.size, self.channels), None

"""Any image classification set that torchvision has, by the name of its class."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_md5
from torchvision.transforms import Compose

from vae_lab.arguments import Count, Text
from vae_lab.data.download import download
from vae_lab.data.files import image_files, squared
from vae_lab.data.images import ImageFiles, Images, ImageSet
from vae_lab.data.mnist import raw_only
from vae_lab.data.source import Source
from vae_lab.errors import InputError, one_line, unknown

_BY_TRAIN = ({"train": True}, {"train": False})
_BY_SPLIT = ({"split": "train"}, {"split": "test"})
_TRAINVAL = ({"split": "trainval"}, {"split": "test"})
_VAL = ({"split": "train"}, {"split": "val"})  # which has the labels that a test split lacks
_WHOLE: tuple[dict[str, Any]] = ({},)

SETS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "CIFAR100": _BY_TRAIN,
    "CLEVRClassification": _VAL,
    "Caltech101": _WHOLE,
    "Caltech256": _WHOLE,
    "Country211": _BY_SPLIT,
    "DTD": _BY_SPLIT,
    "EMNIST": _BY_TRAIN,
    "EuroSAT": _WHOLE,
    "FER2013": _BY_SPLIT,
    "FGVCAircraft": _TRAINVAL,
    "FashionMNIST": _BY_TRAIN,
    "Flowers102": _BY_SPLIT,
    "Food101": _BY_SPLIT,
    "GTSRB": _BY_SPLIT,
    "Imagenette": _VAL,
    "KMNIST": _BY_TRAIN,
    "OxfordIIITPet": _TRAINVAL,
    "PCAM": _BY_SPLIT,
    "QMNIST": _BY_TRAIN,
    "RenderedSST2": _BY_SPLIT,
    "SEMEION": _WHOLE,
    "STL10": _BY_SPLIT,
    "SUN397": _WHOLE,
    "SVHN": _BY_SPLIT,
    "StanfordCars": _BY_SPLIT,
    "USPS": _BY_TRAIN,
}
"""What is said to a class for its training images and, where it keeps them apart, the test images.

These have one label an image. No signature tells that: WIDERFace's is SVHN's, but its label is a
dictionary. ImageNet and Places365, of hundreds of gigabytes, are folders for `data=folder`.
"""

_OWN = {"mnist": "mnist", "cifar10": "cifar10", "omniglot": "omniglot"}
_LYING = {"EMNIST"}  # its characters lie on their sides
_OURS = {
    "root", "train", "download", "loader", "transform", "target_transform", "transforms",
    "what", "compat", "kwargs",
}  # fmt: skip
"""Arguments of the classes that are no one's options."""


class Torchvision(Source):
    """A set as its class in `torchvision.datasets` reads, checks and downloads it.

    Colours stay as they are; labels are numbered 0, 1, ... in the order of their own; characters of
    EMNIST are turned upright. The test images are those of the set, where it has some; a validation
    split of its own is left aside. Sets of image files are streamed where they are large. Sums are
    those that torchvision knows; it knows none of files in MNIST's format that lie unpacked without
    the archives they came from.

    Args:
        name: The class, such as KMNIST; MNIST, CIFAR10 and Omniglot have a `data=` of their own.
        root: The folder in which torchvision's files lie, or into which they are downloaded.
        size: The side of the square, in pixels, that images are resized and cropped to; None leaves
            them as they are. Sets of image files need one.
        options: What else the class is told, such as the `split` of EMNIST; None says nothing.
    """

    def __init__(
        self, name: Text, root: Text, size: Count | None, options: Mapping[str, int | str] | None
    ) -> None:
        if name.lower() in _OWN:
            raise InputError(f"{name} has a choice of its own: say data={_OWN[name.lower()]}.")
        if name not in SETS:
            raise unknown("image classification set of torchvision", name, SETS)
        self.set, self.root, self.size, self.options = name, Path(root), size, options or {}
        self.name = " ".join([name, *map(str, self.options.values())])  # with which figures compare
        kind = getattr(datasets, name)
        self.takes = signature(kind).parameters
        self.has_raw = issubclass(kind, datasets.MNIST)
        self.kind = raw_only(kind) if self.has_raw else kind
        known = {*self.takes} - _OURS - {*SETS[name][0]}
        for option in self.options:
            if option not in known:
                raise unknown(f"option of {name}", option, known)
        for option in known - {*self.options}:
            if self.takes[option].default is Parameter.empty:
                raise InputError(
                    f"{name} needs data.options, such as data.options={{{option}: letters}}."
                )

    def read(self) -> tuple[ImageSet, ImageSet | None]:
        halves: Sequence[ImageSet]
        if "loader" in self.takes:  # a class with files of images, which hands it their paths
            halves = _numbered([self._files(half) for half in SETS[self.set]])
        else:
            halves = _numbered([self._whole(half) for half in SETS[self.set]])
        return halves[0], halves[1] if len(halves) > 1 else None

    def _dataset(self, half: Mapping[str, Any], **more: object) -> Any:
        def dataset(download: bool) -> Any:
            loads = {"download": download} if self.has_raw or "download" in self.takes else {}
            return self.kind(str(self.root), **half, **self.options, **more, **loads)

        folder = self.root / self.set / "raw" if self.has_raw else self.root
        for packed, md5 in self._unchecked(folder):
            _check(packed, md5)
        try:
            return dataset(False)
        except Exception:  # torchvision says in many ways that files are missing or damaged
            return download(f"{self.name} is missing or damaged in {folder}", folder, dataset)

    def _unchecked(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """The files whose sums torchvision knows, but does not check as it reads them."""
        if self.kind is datasets.USPS:
            yield from ((folder / name, md5) for _, name, md5 in self.kind.split_list.values())
        if self.has_raw:
            known = self.kind.resources
            for part in known.values() if isinstance(known, dict) else [known]:
                yield from ((folder / Path(url).name, md5) for url, md5 in part)

    def _files(self, half: Mapping[str, Any]) -> ImageFiles:
        if self.size is None:
            raise InputError(
                f"{self.set} is a set of image files: set data.size, such as data.size=64."
            )
        dataset = self._dataset(half, loader=str)
        samples = sorted(dataset[at] for at in range(len(dataset)))
        return image_files(self.root, samples, self.size)

    def _whole(self, half: Mapping[str, Any]) -> Images:
        square = [] if self.size is None else squared(self.size)
        dataset = self._dataset(half, transform=Compose([_plain, *square, np.asarray]))
        try:
            pixels, labels = zip(*(dataset[at] for at in range(len(dataset))), strict=True)
        except (OSError, ValueError) as error:
            raise InputError(
                f"an image of {self.name} cannot be read ({one_line(error)}): delete the set's "
                f"files in {self.root} and run again to download them."
            ) from error
        sides = sorted({(image.shape[1], image.shape[0]) for image in pixels})
        if len(sides) > 1:
            raise InputError(
                f"images of {self.set} are of {len(sides)} sizes, such as {sides[0]} and "
                f"{sides[-1]} pixels: set data.size, such as data.size=64."
            )
        if not all(isinstance(label, int | np.integer) for label in labels):
            raise InputError(f"{self.name} has images without one number as a label.")
        found = _stacked(pixels)
        upright = found.mT.contiguous() if self.set in _LYING else found
        return Images(upright, torch.tensor(labels, dtype=torch.int64))


def _plain(image: Image.Image) -> Image.Image:
    """An image in 8 bits, grey or in colour as it was."""
    return image if image.mode == "L" else image.convert("RGB")


def _stacked(images: Sequence[np.ndarray]) -> Tensor:
    """Grey (H, W) and coloured (H, W, 3) images as (N, C, H, W), in colour if one is."""
    if any(image.ndim == 3 for image in images):
        colours = [i if i.ndim == 3 else np.repeat(i[..., None], 3, axis=2) for i in images]
        return torch.from_numpy(np.stack(colours)).permute(0, 3, 1, 2).contiguous()
    return torch.from_numpy(np.stack(images)).unsqueeze(1)


Half = TypeVar("Half", Images, ImageFiles)


def _numbered(halves: Sequence[Half]) -> list[Half]:
    """The same images, their labels numbered 0, 1, ... in the order of all that occur."""
    labels = torch.cat([half.labels for half in halves if half.labels is not None])
    numbers = labels.unique(return_inverse=True)[1].split([len(half) for half in halves])
    return [replace(half, labels=part) for half, part in zip(halves, numbers, strict=True)]


def _check(packed: Path, md5: str) -> None:
    """Raise InputError where an archive, or a file unpacked from it, is not what it was."""
    if not packed.is_file():
        return
    unpacked = packed.with_suffix("")
    if not check_md5(packed, md5):
        raise InputError(
            f"{packed} is cut short or has the wrong sum: delete it, and what was unpacked from "
            "it, and run again to download it, or point data.root at an intact copy."
        )
    if packed.suffix != ".gz" or not unpacked.is_file():
        return
    if gzip.decompress(packed.read_bytes()) != unpacked.read_bytes():
        raise InputError(f"{unpacked} is not what {packed.name} holds: delete it, and run again.")

"""Train, validation and test: disjoint, validation carved from train by a recorded seed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vae_lab.data.images import ImageSet, digest
from vae_lab.data.settings import DataSettings
from vae_lab.data.source import Source
from vae_lab.errors import InputError
from vae_lab.trace import Shape


@dataclass(frozen=True)
class Splits:
    """The images of a source in disjoint sets, and the facts that hold of all of them."""

    sets: dict[str, ImageSet]  # "train", "val" and "test"
    x_shape: Shape
    num_classes: int | None  # None where there are no labels
    split_hash: str  # of the items of each set


def read_splits(source: Source, settings: DataSettings) -> Splits:
    """Read a source, split it and check its facts.

    Raises InputError for sizes that do not fit the data, and for data that are not as was said.
    """
    train, test = source.read()
    x_shape = tuple(settings.x_shape or train.x_shape)
    for images in (train, test):
        if images is not None:
            _check(source.name, images, x_shape)
    order = _order(len(train), settings.split_seed)
    if test is None:
        num_test = _items("data.test_size", settings.test_size or 0, len(order))
        order, rest = order.tensor_split([len(order) - num_test])
        test = train.subset(rest)
    every = _order(len(test), settings.split_seed)
    num_val = _items("data.val_size", settings.val_size, len(order))
    if num_val == len(order):
        raise InputError(
            f"data.val_size={settings.val_size} leaves none of {len(order)} items to train on: "
            "make it smaller."
        )
    kept, held_out = order.tensor_split([len(order) - num_val])
    limit = settings.limit  # of random items (by the split's seed): a file may be sorted by class
    sets = {
        "train": train.subset(kept[:limit].sort().values),
        "val": train.subset(held_out[:limit].sort().values),
        "test": test.subset(every[:limit].sort().values),
    }
    num_classes = _num_classes(source.name, sets, settings.num_classes)
    return Splits(sets, x_shape, num_classes, digest(sets.values()))


def _order(count: int, seed: int | None) -> Tensor:
    if seed is None:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _items(key: str, size: float, count: int) -> int:
    """A number of items from a number or a share of `count`."""
    items = round(size * count) if 0 < size < 1 else int(size)
    if items > count:
        raise InputError(f"{key}={size} does not fit {count} items: give a share or a number.")
    return items


def _check(name: str, images: ImageSet, x_shape: Shape) -> None:
    labels, found = images.labels, list(images.x_shape)
    if images.x_shape != x_shape:
        raise InputError(
            f"data.x_shape is {list(x_shape)}, but the images of {name} are {found}: set "
            f"data.x_shape={found}."
        )
    if labels is not None and (labels.dtype != torch.int64 or labels.shape != (len(images),)):
        raise InputError(
            f"the labels of {name} must be {len(images)} whole numbers (torch.int64), one an "
            f"image, not {labels.dtype} of shape {tuple(labels.shape)}."
        )


def _num_classes(name: str, sets: dict[str, ImageSet], said: int | None) -> int | None:
    labels = [images.labels for images in sets.values() if images.labels is not None]
    if not labels and said is None:
        return None
    if not labels:
        raise InputError(
            f"data.num_classes is {said}, but {name} has no labels: set data.num_classes=null."
        )
    every = torch.cat(labels)
    low, high = int(every.min()), int(every.max())
    count = high + 1 if said is None else said
    if low < 0 or high >= count:
        raise InputError(
            f"the labels of {name} reach from {low} to {high}, outside the {count} classes "
            f"0..{count - 1}: mend the labels, or set data.num_classes."
        )
    return count

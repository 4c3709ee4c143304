"""Train, validation and test: disjoint, validation carved from train by a recorded seed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vae_lab.data.images import Images, ImageSet, digest
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
    if test is not None and test.is_8bit != train.is_8bit:
        raise InputError(
            f"of the training and test images of {source.name} one are uint8, the other floats, "
            "which are not prepared alike: store both in one way."
        )
    most = len(train) + (0 if test is None else len(test))
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
    num_classes = _num_classes(source.name, sets, settings.num_classes, most)
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
    """Images and labels are what every source promises; files are read as uint8, and not here."""
    if isinstance(images, Images):
        _check_pixels(name, images.pixels)
    labels, found = images.labels, list(images.x_shape)
    if images.x_shape != x_shape:
        raise InputError(
            f"data.x_shape is {list(x_shape)}, but the images of {name} are {found}: set "
            f"data.x_shape={found}."
        )
    if labels is None:
        return
    is_tensor = isinstance(labels, Tensor)
    if not is_tensor or labels.dtype != torch.int64 or labels.shape != (len(images),):
        kind = (
            f"{labels.dtype} of shape {tuple(labels.shape)}" if is_tensor else type(labels).__name__
        )
        raise InputError(
            f"the labels of {name} must be {len(images)} whole numbers (torch.int64), one an "
            f"image, not {kind}."
        )


def _check_pixels(name: str, pixels: Tensor) -> None:
    told = f"the images of {name}"
    if not isinstance(pixels, Tensor):
        raise InputError(f"{told} are of type {type(pixels).__name__}: give a torch tensor.")
    if pixels.dim() not in (2, 4) or not pixels.numel():
        fix = "add the channel axis by unsqueeze(1)" if pixels.dim() == 3 else "mend the source"
        raise InputError(
            f"{told} must be (N, C, H, W) or (N, D), not {tuple(pixels.shape)}: {fix}."
        )
    if pixels.dtype == torch.uint8:
        if pixels.max() == 1:
            raise InputError(
                f"{told} are uint8 of 0 and 1 alone, which would be all but black: multiply them "
                "by 255, or, in a file of arrays, store them as bool."
            )
        return
    if pixels.dtype != torch.float32:
        raise InputError(f"{told} are {pixels.dtype}: give uint8 0..255, or float32 in 0..1.")
    low, high = pixels.aminmax()
    if bad := int((~pixels.isfinite()).sum()):
        raise InputError(
            f"{told} hold {bad} values of {pixels.numel()} that are not finite (NaN or infinite): "
            "mend or leave out those images."
        )
    if low < 0 or high > 1:
        raise InputError(f"{told} are floats in {low:.3g}..{high:.3g}: scale them to 0..1.")


def _num_classes(name: str, sets: dict[str, ImageSet], said: int | None, most: int) -> int | None:
    """As many as is said, or as the labels tell: then not more than the `most` items there are."""
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
    if said is None and count > most:
        raise InputError(
            f"the labels of {name} reach to {high}, but there are {most} images: number classes "
            f"from 0 without gaps, or set data.num_classes={count} if there are so many."
        )
    return count

"""Train, validation and test: disjoint, validation carved from train by a recorded seed."""

import torch
from torch import Tensor

from vae_lab.data.images import ImageSet
from vae_lab.data.source import Source
from vae_lab.errors import InputError, number, whole_number


def carve(
    source: Source,
    val_size: float,
    test_size: float | None,
    split_seed: int | None,
    limit: int | None,
) -> dict[str, ImageSet]:
    """The splits "train", "val" and "test" of a source; see `ImageDataModule` for the settings.

    Raises InputError for sizes that do not fit the data.
    """
    if split_seed is not None:
        whole_number("data.split_seed", split_seed, 0)
    train, test = source.read()
    count = len(train)
    order = _order(count, split_seed)
    if test is None:
        num_test = _items("data.test_size", test_size or 0, count)
        test = train.subset(order[count - num_test :])
        order = order[: count - num_test]
    num_val = _items("data.val_size", val_size, len(order))
    num_train = len(order) - num_val
    if num_train < 1:
        raise InputError(
            f"data.val_size={val_size} leaves none of {len(order)} items to train on: make it "
            "smaller."
        )
    # A limit keeps random items (by the split's seed), not the first of a file sorted by class.
    return {
        "train": train.subset(order[:num_train][:limit].sort().values),
        "val": train.subset(order[num_train:][:limit].sort().values),
        "test": test.subset(_order(len(test), split_seed)[:limit].sort().values),
    }


def _order(count: int, seed: int | None) -> Tensor:
    if seed is None:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _items(key: str, size: float, count: int) -> int:
    """A number of items from a number or a share of `count`."""
    number(key, size, 0)
    items = round(size * count) if 0 < size < 1 else int(size)
    if items > count:
        raise InputError(f"{key}={size} does not fit {count} items: give a share or a number.")
    return items

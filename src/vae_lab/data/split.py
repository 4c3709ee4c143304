"""Train, validation and test: disjoint, validation carved from train by a recorded seed."""

import torch

from vae_lab.data.images import ImageSet
from vae_lab.data.source import Source
from vae_lab.errors import InputError


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
    train, test = source.read()
    count = len(train)
    if split_seed is None:
        order = torch.arange(count)
    else:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(split_seed))
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
    splits = {
        "train": train.subset(order[:num_train].sort().values),
        "val": train.subset(order[num_train:].sort().values),
        "test": test,
    }
    if limit is None:
        return splits
    return {n: s.subset(torch.arange(min(limit, len(s)))) for n, s in splits.items()}


def _items(key: str, size: float, count: int) -> int:
    """A number of items from a number or a share of `count`."""
    items = round(size * count) if 0 < size < 1 else int(size)
    if size < 0 or items > count:
        raise InputError(f"{key}={size} does not fit {count} items: give a share or a number.")
    return items

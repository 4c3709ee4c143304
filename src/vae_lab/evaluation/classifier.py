"""An image classifier that never saw a model: it judges samples, and its features compare them.

It is trained once on a data set's own images, and kept in a cache.
"""

import hashlib
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from inspect import getsource
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, pad

from vae_lab.data import ImageDataModule, ImageSet
from vae_lab.data.images import digest
from vae_lab.data.preparation import AS_STORED
from vae_lab.errors import InputError, one_line
from vae_lab.seeding import reseed
from vae_lab.storage.checkpoint import read_tensors
from vae_lab.storage.files import atomic_file
from vae_lab.terminal import say, tell

FEATURES = 64
"""Units of the layer before the last, on whose activations a Frechet distance is taken."""
_SEED = 0  # of weights, order and shifts: one ruler for all models
_BATCH, _MOST_STEPS, _MOST_EPOCHS, _LR = 128, 1200, 20, 4e-3
_LARGEST = 32  # pixels a side; larger images are averaged down to it, so that time is bounded
_AT_ONCE = 500  # images, where nothing is trained
_TOLD_AFTER = 20  # steps, from which the time of all is estimated


def _cnn(channels: int, num_classes: int) -> nn.Sequential:
    """Three convolutions and two dense layers, from images of any size to logits."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 5, stride=2, padding=2), nn.BatchNorm2d(32), nn.GELU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.GELU(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.GELU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(64 * 16, FEATURES), nn.GELU(),
        nn.Linear(FEATURES, num_classes),
    )  # fmt: skip


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of images in [0, 1] that are not binarised.

    Attributes:
        network: From images (N, C, H, W) to logits (N, num_classes), in eval mode.
        accuracy: The share of real test images that it recognises.
        tested_on: How many those were.
        trained_on: How many real training images it was given.
    """

    network: nn.Sequential
    accuracy: float
    tested_on: int
    trained_on: int

    def predict(self, x: Tensor) -> Tensor:
        """The class of each image, (N, C, H, W) in [0, 1]; (N,), on the CPU."""
        return _outputs(self.network, x).argmax(1)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees of each image, (N, C, H, W) in [0, 1]; (N, 64), on the CPU."""
        return _outputs(self.network[:-1], x)


def can_be_classified(data: ImageDataModule, limit: int | None = None) -> bool:
    """Whether these, or `limit` of them, are images (C, H, W) with labels that tell them apart."""
    labels = drawn(data, "train", limit).labels
    return len(data.x_shape) == 3 and labels is not None and len(labels.unique()) > 1


def classifier_for(
    data: ImageDataModule,
    device: torch.device | str = "cpu",
    limit: int | None = None,
    quiet: bool = False,
) -> Classifier:
    """The classifier of a data set: from the cache; else trained, which one line says, and kept.

    It is trained on the training images as they are stored, and tested on such test images. The
    cache is the folder VAE_LAB_CACHE, else ~/.cache/vae_lab. A file there is named by a sum over
    those images and over this module, so that neither other data nor another recipe are mistaken
    for it, and one that is damaged is made anew.

    Args:
        data: Images with labels, and a test split.
        device: Where it is trained, and is to serve.
        limit: Train on at most so many images, and test on as many; they are drawn at random.
        quiet: No line.

    Raises:
        InputError: For data without labels, or that are no images.
    """
    if not can_be_classified(data, limit):
        raise InputError("a classifier needs images (C, H, W), with labels of two classes or more.")
    device, name = torch.device(device), data.source.name
    train, test = (drawn(data, split, limit) for split in ("train", "test"))
    told = (name, data.x_shape, data.num_classes, digest([train, test]), _recipe())
    key = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("VAE_LAB_CACHE") or Path.home() / ".cache" / "vae_lab")
    path = cache / f"classifier-{name}-{key}.pt"
    network = partial(_cnn, data.x_shape[0], data.num_classes or 0)
    with torch.random.fork_rng():
        with suppress(Exception):  # there is none, or it is damaged
            return _read(path, network().to(device))
        reseed(device, _SEED, "classifier")
        console = Console(stderr=True, quiet=quiet)
        trained = _trained(network().to(device), train, name, console)
    right = torch.eq(_outputs(trained, of_images(test)).argmax(1), _labels(test))
    found = Classifier(trained, float(right.double().mean()), len(test), len(train))
    _write(found, path)
    return found


def drawn(data: ImageDataModule, split: str, limit: int | None) -> ImageSet:
    """The images of a split as they are stored: all, or `limit` of them at random."""
    images = data.stored[split]
    if limit is None or limit >= len(images):
        return images
    return images.subset(data.random_index(split, limit, _SEED))


def of_images(images: ImageSet) -> Tensor:
    """All of them as x in [0, 1], (N, C, H, W), none larger than a classifier looks at."""
    every = torch.arange(len(images)).split(_AT_ONCE)
    return torch.cat([_small(AS_STORED(images.gather(index)[0])) for index in every])


def _labels(images: ImageSet) -> Tensor:
    assert images.labels is not None
    return images.labels


def _recipe() -> str:
    return getsource(sys.modules[__name__])


@torch.no_grad()
def _outputs(layers: nn.Module, x: Tensor) -> Tensor:
    """What the layers make of images, (N, units), on the CPU."""
    device = next(layers.parameters()).device
    return torch.cat([layers(_small(part.to(device))).cpu() for part in x.split(_AT_ONCE)])


def _small(x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    size = (min(height, _LARGEST), min(width, _LARGEST))
    return x if size == (height, width) else adaptive_avg_pool2d(x, size)


def _trained(
    network: nn.Sequential, images: ImageSet, name: str, console: Console
) -> nn.Sequential:
    """The network, in eval mode, trained on images that are shifted at random."""
    device, labels = next(network.parameters()).device, _labels(images)
    per_epoch = -(-len(images) // _BATCH)
    steps = min(_MOST_STEPS, _MOST_EPOCHS * per_epoch)
    epochs = range(-(-steps // per_epoch))
    order = torch.cat([torch.randperm(len(images)) for _ in epochs])
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LR, total_steps=steps)
    started = time.monotonic()
    network.train()
    for step, index in enumerate(order.split(_BATCH)[:steps]):
        if step == _TOLD_AFTER:
            seconds = (time.monotonic() - started) * steps / step
            line = f"Trains a classifier on {len(images)} images of {name}, once: {seconds:.0f} s."
            say(console, line)
        x = _small(AS_STORED(images.gather(index)[0].to(device)))
        loss = cross_entropy(network(_shifted(x)), labels[index].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _shifted(x: Tensor) -> Tensor:
    """The images moved by up to a fourteenth of their side, all alike."""
    height, width = x.shape[2:]
    reach = min(height, width) // 14
    down, right = torch.randint(2 * reach + 1, (2,)).tolist()
    wide = pad(x, [reach] * 4, mode="replicate")
    return wide[..., down : down + height, right : right + width]


def _read(path: Path, network: nn.Sequential) -> Classifier:
    """What `_write` wrote, its weights in `network`. Whatever is wrong raises."""
    content = read_tensors(path)
    network.load_state_dict(content["network"])
    facts: dict[str, Any] = {k: content[k] for k in ("accuracy", "tested_on", "trained_on")}
    return Classifier(network.eval(), **facts)


def _write(found: Classifier, path: Path) -> None:
    """Keep it, whole or not at all. Each process writes a file of its own, and then renames it."""
    content = {**vars(found), "network": found.network.state_dict()}
    own = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(own) as part:
            torch.save(content, part)
        own.replace(path)
    except OSError as error:
        tell(
            "warning",
            f"the classifier is not kept, and is trained anew next time ({one_line(error)}).",
        )
